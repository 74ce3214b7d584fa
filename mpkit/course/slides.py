"""Rows of pictures, and figures in the manner of the talk's slides: base + δ = poison (3), what a
victim says (10)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from torch import Tensor

from mpkit.evaluation.rates import percent
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.victims import VictimRecord
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.looks import LOOKS
from mpkit.runs.sheet import picture_tag


def show(pictures: Sequence[Tensor], titles: Sequence[str], columns: int = 0) -> None:
    """Pictures (C, H, W) in [0, 1] with titles, which are their alt text as well; in a row, or in
    so many columns."""
    from IPython.display import HTML, display

    cells = "".join(
        f"<figure style='margin:4px;text-align:center'>{picture_tag(p, title, 128)}"
        f"<figcaption>{escape(title)}</figcaption></figure>"
        for p, title in zip(pictures, titles, strict=True)
    )
    grid = f"display:grid;grid-template-columns:repeat({columns},max-content)"
    how = grid if columns else "display:flex;flex-wrap:wrap"
    display(HTML(f"<div style='{how}'>{cells}</div>"))


def show_change(bases: Tensor, poisons: Tensor, target: Tensor, label: str, true: str) -> None:
    """base | change × 2 around grey | poison, a row for each of (P, C, H, W); then the target."""
    change = (0.5 + 2 * (poisons - bases)).clamp(0, 1)
    pictures = [p for row in zip(bases, change, poisons, strict=True) for p in row]
    titles = [f"base: a {label}", "its change × 2", f"poison: labelled {label}"] * len(bases)
    show([*pictures, target], [*titles, f"the target: a {true}"], 3)


def shares(records: Sequence[VictimRecord], arm: str) -> tuple[float, float, float]:
    """The first target's mean probabilities over an arm's victims that did not diverge:
    (adversarial class, true class, all others). Raises ZeroDivisionError where there are none."""
    mine = [r for r in records if r.arm == arm and not r.diverged]
    wanted = sum(r.adversarial_probability[0] for r in mine) / len(mine)
    true = sum(r.true_probability[0] for r in mine) / len(mine)
    return wanted, true, max(0.0, 1 - wanted - true)


def draw_slide(records: Sequence[VictimRecord], true: str, wanted: str):
    """Two axes: the poisoned victims' mean probabilities, as on the slide; and every victim of all
    arms, a dot each, with its own. Returns a matplotlib figure that pyplot shows."""
    import matplotlib.pyplot as plt

    figure, (slide, all_of_them) = plt.subplots(1, 2, figsize=(9.5, 2.8), layout="constrained")
    colours = [colour for colour, *_ in LOOKS.values()]
    bars = slide.barh(
        [shown(wanted), shown(true), "all others"], shares(records, "poisoned"), color=colours
    )
    slide.bar_label(bars, fmt=lambda share: percent(share, 0), padding=3)
    slide.set(xlim=(0, 1.15), title="as on the slide", xlabel="mean probability for the target")
    slide.invert_yaxis()
    for row, arm in enumerate(ARMS):
        mine = [r for r in records if r.arm == arm and not r.diverged]
        height = [row + 0.4 * ((r.victim * 0.618) % 1 - 0.5) for r in mine]
        seen = [r.adversarial_probability[0] for r in mine]
        colour, marker, _ = LOOKS[arm]
        all_of_them.plot(seen, height, marker, color=colour, alpha=0.75)
    all_of_them.set_yticks(range(len(ARMS)), ARMS)
    all_of_them.set(xlim=(-0.03, 1.03), ylim=(2.5, -0.5), title="every victim, and the controls")
    all_of_them.set_xlabel(shown(f'probability of "{wanted}" for the target'))
    return figure
