"""The scene of chapter 02, and its drawings."""

from __future__ import annotations

import base64
import io
import re

import matplotlib as mpl
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mpkit.course import plane as drawing
from mpkit.lab.unroll_toy import make_toy, network, sgd_step

mpl.use("Agg")

LR = 0.5


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Progress in a file of the test's own, and no figure left open."""
    monkeypatch.setenv("MPKIT_PROGRESS", str(tmp_path / "progress.json"))
    yield
    drawing.plt.close("all")


def test_the_scene_is_the_labs_in_64_bits():
    ours, labs = drawing.scene(3), make_toy(3)
    tensors = [ours.x, ours.poisons, ours.target, *ours.params.values()]
    assert {t.dtype for t in tensors} == {torch.float64}
    assert torch.equal(ours.poisons.float(), labs.poisons)
    assert all(torch.equal(w.float(), labs.params[k]) for k, w in ours.params.items())
    assert not torch.equal(drawing.scene(3, warmup=10).params["w2"], ours.params["w2"])


@pytest.mark.parametrize("seed", range(10))
def test_every_arrow_leads_towards_the_target_and_down(seed):
    plane = drawing.scene(seed)
    slopes, path = plane.look_ahead(plane.poisons, 1, LR)
    assert F.cosine_similarity(-slopes, plane.target - plane.poisons).min() > 0
    lengths = slopes.norm(dim=1)
    assert lengths.max() > 3 * lengths.min()
    moved = plane.poisons - 0.01 * slopes / lengths.max()
    after = plane.adversarial_loss(plane.unroll(moved, 1, LR)[-1])
    assert after < plane.adversarial_loss(path[-1])


def test_the_longest_arrow_grows_with_k():
    for seed in range(5):
        plane = drawing.scene(seed)
        one, ten = (plane.look_ahead(plane.poisons, k, LR)[0].norm(dim=1).max() for k in (1, 10))
        assert ten > one


def test_the_drawing_shows_both_boundaries_and_leaves_room():
    plane = drawing.scene(0)
    after = sgd_step(plane.params, plane.x, plane.y, LR)
    drawing.draw(plane, {"w₀": plane.params, "w₁": after}, -plane.poisons, lambda p: p[:, 0])
    axes = drawing.plt.gcf().axes
    assert len(axes) == 2  # the plane and the scale of its ground
    words = [t.get_text() for t in axes[0].get_legend().get_texts()]
    assert words[:2] == ["w₀", "w₁"]
    low, high = axes[0].get_xlim()
    points = torch.cat([plane.x, plane.poisons, plane.target])
    assert low < points.min()
    assert points.max() < high
    told = "\n".join(f"{i}: {p.norm():.2g}" for i, p in enumerate(plane.poisons, 1))
    assert any(told in t.get_text() for t in axes[0].texts)
    assert axes[0].get_legend().get_window_extent().y1 < axes[0].bbox.y0  # it hides no point


def test_the_boundary_is_where_the_scores_are_equal():
    plane = drawing.scene(1)
    drawing.draw(plane, {"w₀": plane.params})
    axes = drawing.plt.gcf().axes[0]
    (line,) = [c for c in axes.collections if hasattr(c, "levels")]
    spots = torch.tensor(line.get_paths()[0].vertices, dtype=torch.float64)
    scores = network(plane.params, spots)
    assert (scores[:, 0] - scores[:, 1]).abs().max() < 0.1 * scores.std()


def test_slide_5_has_words_for_those_who_cannot_see_it():
    html = drawing.slide().data
    assert 'alt="Slide 5' in html
    assert all(word in html for word in ("initial weights", "poison", "target", "adversarial loss"))
    data = base64.b64decode(re.search('base64,([^"]*)"', html)[1])
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    assert picture.width >= 900
    assert picture.getpixel((picture.width // 2, picture.height - 1)) == (255, 255, 255)
