"""How pictures may be changed: bounds, 8 bits, gradients."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from mpkit.perturbation import PERTURBATIONS, Additive, Composed, Recolor, to_8bit
from tests.conftest import ROOT

GREY, RGB = (1, 5, 6), (3, 5, 6)

SHAPES = pytest.mark.parametrize("shape", [GREY, RGB], ids=["grey", "rgb"])

NAMES = pytest.mark.parametrize("name", list(PERTURBATIONS))


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, shape, seed: int = 0, low: float = 0, high: float = 1) -> torch.Tensor:
    """8-bit pictures, black and white among them."""
    levels = torch.randint(
        round(255 * low), round(255 * high) + 1, (count, *shape), generator=gen(seed)
    )
    if low == 0 and high == 1:
        levels.view(-1)[:8] = torch.tensor([0, 255] * 4)
    return levels.float() / 255


def wild(name: str, bases: torch.Tensor, size: float, seed: int) -> dict[str, torch.Tensor]:
    """Parameters of the right shapes anywhere in ±size."""
    start = PERTURBATIONS[name].init(bases, 0.1, gen(0))
    g = gen(seed)
    return {k: size * (2 * torch.rand(v.shape, generator=g) - 1).to(v) for k, v in start.items()}


# ── where crafting starts ───────────────────────────────────────────────────────────────────────


@SHAPES
def test_delta_starts_uniform_within_epsilon(shape):
    bases = pictures(200, shape)
    delta = Additive().init(bases, 0.03, gen(1))["delta"]
    assert delta.shape == bases.shape
    assert delta.abs().max() <= 0.03
    assert delta.max() > 0.0299
    assert delta.min() < -0.0299
    assert delta.mean().abs() < 0.001
    assert delta.std().item() == pytest.approx(0.03 / 3**0.5, rel=0.03)
    assert torch.equal(delta, Additive().init(bases, 0.03, gen(1))["delta"])
    assert not torch.equal(delta, Additive().init(bases, 0.03, gen(2))["delta"])


@SHAPES
def test_colours_start_unchanged(shape):
    bases, c = pictures(3, shape), shape[0]
    grid = Recolor(cells=4).init(bases, 0.03, gen(0))["grid"]
    assert grid.shape == (3, c, *[4] * c)
    assert not grid.any()
    assert torch.equal(Recolor().apply(Recolor().init(bases, 0, gen(0)), bases), bases)


@NAMES
@SHAPES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parameters_have_bounds_and_the_pictures_type(name, shape, dtype):
    bases = pictures(2, shape).to(dtype)
    perturbation = PERTURBATIONS[name]
    parameters = perturbation.init(bases, 0.1, gen(0))
    assert {v.dtype for v in parameters.values()} == {dtype}
    bounds = perturbation.bounds(0.1, 0.04)
    assert bounds == {k: {"delta": 0.1, "grid": 0.04}[k] for k in parameters}
    assert set(parameters) == {
        "additive": {"delta"}, "recolor": {"grid"}, "both": {"delta", "grid"}
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", ["recolor", "both"])
@pytest.mark.parametrize("channels", [2, 4])
def test_colours_need_grey_or_rgb(name, channels):
    with pytest.raises(ValueError, match=f"grey or RGB pictures, not {channels} channels"):
        PERTURBATIONS[name].init(torch.rand(2, channels, 4, 4), 0.1, gen(0))


@pytest.mark.parametrize("cells", [0, 1, -2])
def test_a_grid_needs_two_cells(cells):
    with pytest.raises(ValueError, match=f"at least 2 cells.* not {cells}"):
        Recolor(cells)


def test_noise_takes_pictures_of_any_channels():
    bases = pictures(2, (2, 4, 4))
    assert Additive().init(bases, 0.1, gen(0))["delta"].shape == bases.shape


# ── project ─────────────────────────────────────────────────────────────────────────────────────


@NAMES
@SHAPES
@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 8 / 255, 0.3, 1.0])
def test_projected_parameters_are_within_bounds_and_their_pictures_valid(name, shape, epsilon):
    perturbation = PERTURBATIONS[name]
    for seed in range(10):
        bases = pictures(4, shape, seed)
        size = 10.0 ** (seed % 4 - 2)
        projected = perturbation.project(wild(name, bases, size, seed), bases, epsilon, 0.05)
        limits = perturbation.bounds(epsilon, 0.05)
        assert set(projected) == set(limits)
        for k, v in projected.items():
            assert v.abs().max() <= limits[k] + 1e-7
        images = perturbation.apply(projected, bases)
        assert images.min() >= -1e-7
        assert images.max() <= 1 + 1e-7
        again = perturbation.project(projected, bases, epsilon, 0.05)
        for k, v in projected.items():
            assert torch.allclose(again[k], v, atol=2e-7)


@SHAPES
def test_projection_is_to_the_nearest(shape):
    bases = pictures(4, shape).double()
    delta = wild("additive", bases, 0.3, 1)["delta"]
    found = Additive().project({"delta": delta}, bases, 0.1, 0.0)["delta"]
    b = bases.numpy()
    expected = np.clip(delta.numpy(), np.maximum(-0.1, -b), np.minimum(0.1, 1 - b))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-15)
    assert (np.abs(expected) < 0.1).any()
    assert (np.abs(expected) == 0.1).any()


@SHAPES
def test_delta_on_top_of_colours_is_projected_around_the_recoloured_base(shape):
    bases = pictures(4, shape).double()
    both = wild("both", bases, 0.3, 1)
    found = Composed().project(both, bases, 0.1, 0.04)
    assert torch.equal(found["grid"], both["grid"].clamp(-0.04, 0.04))
    centre = Recolor().apply({"grid": found["grid"]}, bases).numpy()
    assert np.abs(centre - bases.numpy()).max() > 0.01
    expected = np.clip(
        both["delta"].numpy(), np.maximum(-0.1, -centre), np.minimum(0.1, 1 - centre)
    )
    np.testing.assert_allclose(found["delta"].numpy(), expected, atol=1e-15)


# ── 8 bits ──────────────────────────────────────────────────────────────────────────────────────


def epsilons(count: int, seed: int) -> list[float]:
    draw = np.random.default_rng(seed)
    fixed = [8 / 255, 0.5 / 255, 1 / 255, 8.7 / 255, 1 / 1000, 0.3, 1.0, 0.0]
    return fixed + [float(e) for e in 10 ** draw.uniform(-3, 0, count)]


def eight_bits(name: str, shape, epsilon: float, seed: int, push: float):
    """Poisons at the corner of their box or inside it: levels, the centre of the box, the image."""
    perturbation, bases = PERTURBATIONS[name], pictures(6, shape, seed)
    parameters = wild(name, bases, push * epsilon, seed)
    if "grid" in parameters:
        parameters["grid"] = wild(name, bases, 0.1, seed)["grid"]
    parameters = perturbation.project(parameters, bases, epsilon, 0.04)
    levels = to_8bit(perturbation, parameters, bases, epsilon)
    assert levels.dtype == torch.uint8
    assert levels.shape == bases.shape
    exact = {k: v.double() for k, v in parameters.items()}
    image = perturbation.apply(exact, bases.double())
    centre = image - exact["delta"] if "delta" in exact else image
    return levels.double(), 255 * centre, 255 * image


@SHAPES
@pytest.mark.parametrize("push", [0.9, 30])
def test_additive_poisons_are_within_epsilon_after_rounding(shape, push):
    for seed, epsilon in enumerate(epsilons(30, 0)):
        levels, centre, image = eight_bits("additive", shape, epsilon, seed, push)
        bases = centre.round()  # bases are 8-bit pictures themselves
        assert (centre - bases).abs().max() < 1e-3
        assert (levels - bases).abs().max() <= 255 * epsilon + 1e-3, epsilon
        assert (levels - image).abs().max() <= 1 + 1e-3  # never far from what was crafted
        if (free := (image.round() - bases).abs() <= 255 * epsilon - 1e-3).any():
            assert (levels - image)[free].abs().max() <= 0.5 + 1e-3  # rounded where it may be


@SHAPES
@pytest.mark.parametrize("push", [0.9, 30])
def test_recoloured_poisons_are_within_epsilon_after_rounding(shape, push):
    for seed, epsilon in enumerate(epsilons(30, 1)):
        levels, centre, image = eight_bits("both", shape, epsilon, seed, push)
        assert (centre - centre.round()).abs().max() > 0.4  # bases between two levels
        # Where no level is that near, half a level is what rounding alone costs.
        assert (levels - centre).abs().max() <= max(255 * epsilon, 0.5) + 2e-3, epsilon
        low, high = torch.ceil(centre - 255 * epsilon), torch.floor(centre + 255 * epsilon)
        if (possible := low <= high).any():
            assert (levels - centre)[possible].abs().max() <= 255 * epsilon + 2e-3, epsilon
        assert (levels - image).abs().max() <= 1 + 1e-3


@SHAPES
def test_colours_alone_are_plainly_rounded(shape):
    for seed, epsilon in enumerate(epsilons(5, 2)):
        levels, _, image = eight_bits("recolor", shape, epsilon, seed, 1)
        assert (levels - image).abs().max() <= 0.5 + 1e-3
        assert (levels - 255 * pictures(6, shape, seed)).abs().max() > 1


@SHAPES
def test_an_epsilon_lowered_afterwards_is_obeyed(shape):
    bases = pictures(4, shape)
    parameters = Additive().project(wild("additive", bases, 1.0, 3), bases, 0.2, 0)
    for epsilon in (0.1, 8 / 255, 2.3 / 255):
        levels = to_8bit(Additive(), parameters, bases, epsilon).double()
        off = (levels - (255 * bases.double()).round()).abs().max()
        assert off == int(255 * epsilon + 1e-6)


def blocks_of_the_docs():
    """The perturbation that docs/extending.md shows: an additive one with a name of its own."""
    text = (ROOT / "docs/extending.md").read_text("utf-8")
    code = re.search(r"```python\n(class Blocks:.*?)```", text, re.DOTALL)[1]
    names = {"torch": torch, "Tensor": torch.Tensor, "Parameters": dict}
    exec(code, names)
    return names["Blocks"]()


@SHAPES
def test_another_additive_perturbation_is_within_epsilon_after_rounding(shape):
    blocks, bases = blocks_of_the_docs(), pictures(4, shape)
    for seed, epsilon in enumerate(epsilons(10, 3)):
        drawn = blocks.random(bases, epsilon, 0.0, gen(seed))
        drawn = blocks.project({"blocks": 2 * drawn["blocks"]}, bases, epsilon, 0.0)
        levels = to_8bit(blocks, drawn, bases, epsilon).double()
        assert (levels - 255 * bases).abs().max() <= 255 * epsilon + 1e-3, epsilon


def test_whole_levels_survive_unchanged():
    bases = pictures(1, (1, 16, 16), low=0.2, high=0.8)
    steps = torch.randint(-8, 9, bases.shape, generator=gen(0))
    levels = to_8bit(Additive(), {"delta": steps / 255}, bases, 8 / 255)
    assert torch.equal(levels.long(), (255 * bases).round().long() + steps)


# ── gradients ───────────────────────────────────────────────────────────────────────────────────


@NAMES
@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 2, 3)], ids=["grey", "rgb"])
def test_gradients_against_finite_differences(name, shape):
    cells = 3
    made = {
        "additive": Additive(), "recolor": Recolor(cells), "both": Composed(Recolor(cells))
    }[name]  # fmt: skip
    bases = pictures(2, shape, seed=5, low=0.3, high=0.7).double()
    start = made.init(bases, 0.05, gen(0))
    names = list(start)
    values = [
        (0.02 * torch.randn(v.shape, generator=gen(1), dtype=torch.float64)).requires_grad_()
        for v in start.values()
    ]

    def both(*values):
        parameters = dict(zip(names, values, strict=True))
        return made.apply(parameters, bases), made.penalty(parameters)

    assert torch.autograd.gradcheck(both, values, fast_mode=True)
    images, _ = both(*values)
    slopes = torch.autograd.grad(images.square().sum(), values)
    assert all(s.abs().max() > 0 for s in slopes)
