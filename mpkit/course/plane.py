"""Chapter 02's points in the plane, as data and as a picture; and slide 5 as a graph."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from IPython.display import HTML
from torch import Tensor
from torch.func import grad

from mpkit.lab.kit.canvas import BLACK, BLUE, GREY, ORANGE, PURPLE, RED, SKY, new_figure
from mpkit.lab.unroll_toy import Params, Toy, make_toy, network
from mpkit.lab.unroll_view import drawn, lengths, note_lengths

SLIDE = (
    "Slide 5 as a graph of boxes and arrows. Training phase: initial weights w₀ and the poison go "
    "into Forward and Backward, which gives the updated weights w₁. Testing phase: the updated "
    "weights and the target go into Forward, which gives the adversarial loss."
)
EDGE, GRID, LOOKS = 2.3, 70, ((BLACK, "--", 1.5), (PURPLE, "-", 3))


def slide():
    """Slide 5 as an HTML picture with alt text, on white, for light and dark themes alike."""
    figure = new_figure(9, 3.6)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis((0, 9, 0, 3.6))
    axes.set_axis_off()
    for low, tall, name in ((1.45, 2.1, "training phase"), (0.05, 1.3, "testing phase")):
        axes.axhspan(low, low + tall, color=GREY, alpha=0.12)
        axes.text(0.1, low + tall - 0.1, name, va="top", color="#444444", style="italic")
    places = {
        "initial weights\n$w_0$": (2.0, 3.0, SKY), "poison\n(pixels, label)": (2.0, 1.95, ORANGE),
        "Forward + Backward\n$-\\,lr\\cdot\\nabla CE(w_0; x)$": (4.5, 2.5, "white"),
        "updated weights\n$w_1$": (7.2, 2.5, SKY), "target": (2.0, 0.6, "white"),
        "Forward": (4.5, 0.6, "white"), "adversarial loss\n$L_{adv}(w_1)$": (7.2, 0.6, RED),
    }  # fmt: skip
    frame = {"boxstyle": "round,pad=0.5", "ec": BLACK, "alpha": 0.75}
    boxes = [
        axes.text(x, y, words, ha="center", va="center", bbox=frame | {"fc": colour})
        for words, (x, y, colour) in places.items()
    ]
    for one, other in ((0, 2), (1, 2), (2, 3), (3, 5), (4, 5), (5, 6)):
        ends = [boxes[i].get_position() for i in (other, one)]
        patches = {"patchA": boxes[one].get_bbox_patch(), "patchB": boxes[other].get_bbox_patch()}
        axes.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "lw": 2, "fc": BLACK} | patches)
    figure.savefig(file := io.BytesIO(), format="png")
    data, style = base64.b64encode(file.getvalue()).decode(), "width:100%;max-width:900px"
    return HTML(f'<img alt="{SLIDE}" style="{style}" src="data:image/png;base64,{data}">')


def scene(seed: int, warmup: int = 60) -> Toy:
    """The lab's points in 64-bit numbers, after `warmup` steps of training on the clean ones."""
    toy = make_toy(seed, warmup=warmup)
    wide = {k: getattr(toy, k).double() for k in ("x", "poisons", "target")}
    return dataclasses.replace(toy, **wide, params={k: w.double() for k, w in toy.params.items()})


def sgd_step(network: Callable, params: Params, x: Tensor, y: Tensor, lr: float) -> Params:
    """w − lr·∇CE(network(w, x), y) of any network that is a function of weights and points."""
    slopes = grad(lambda p: F.cross_entropy(network(p, x), y))(params)
    return {name: w - lr * slopes[name] for name, w in params.items()}


def draw(toy: Toy, borders: dict[str, Params], arrows: Tensor | None = None, ground=None) -> None:
    """The scene in a new pyplot figure, with the decision boundaries of up to two weights by name.

    `arrows` (P, 2) stand at the poisons, drawn on a logarithmic scale, with their lengths in a
    corner; `ground` maps points (N, 2) to numbers (N,), shown as shades of grey.
    """
    figure, axes = plt.subplots(figsize=(7.2 if ground else 6, 5.2))
    line = torch.linspace(-EDGE, EDGE, GRID, dtype=torch.float64)
    spots = torch.cartesian_prod(line, line).flip(1)
    with torch.no_grad():
        if ground:
            shades = axes.contourf(line, line, ground(spots).view(GRID, GRID), 12, cmap="Greys")
            figure.colorbar(shades, label="fall of the adversarial loss")
        for (name, params), (colour, style, width) in zip(borders.items(), LOOKS, strict=False):
            height = network(params, spots).diff(dim=1).view(GRID, GRID)
            look = {"colors": colour, "linestyles": style, "linewidths": width}
            axes.contour(line, line, height, [0], **look, zorder=3 - width / 2)
            axes.plot([], [], style, color=colour, lw=width, label=name)
    for label, marker, colour in ((0, "s", BLUE), (1, "o", RED)):
        where = toy.x[toy.y == label].T
        axes.plot(*where, marker, color=colour, mec="white", label=f"class {label}")
    axes.plot(*toy.poisons.T, "D", color=ORANGE, mec=BLACK, ms=9, label="poisons (class 1)")
    axes.plot(*toy.target.T, "*", color=BLUE, mec=BLACK, ms=17, label="target (class 0)")
    for i, place in enumerate(toy.poisons, 1):
        axes.annotate(str(i), place, xytext=(9, -3), textcoords="offset points", weight="bold")
    if arrows is not None:
        style = {"angles": "xy", "scale_units": "xy"}
        axes.quiver(*toy.poisons.T, *drawn(arrows).T, **style, scale=1, width=0.006, zorder=5)
        note_lengths(axes, 9).set_text("\n".join(lengths(arrows)))
        axes.set_title("arrows: −∂L_adv/∂x")
    axes.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")
    axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.05), frameon=False)
