"""The picture of a comparison."""

from __future__ import annotations

import io

from PIL import Image

from mpkit.cli.compare_picture import _points, picture
from mpkit.evaluation.rates import Mean, clustered_rate, rate
from mpkit.lab.kit.canvas import new_figure
from mpkit.runs.comparison import Entry

DEFENSES = ("none", "jpeg", "loss")


def entry(method: str, defense: str, tuning: str = "no", won: int = 2) -> Entry:
    at = Mean(0.7 - 0.1 * DEFENSES.index(defense), 0.5, 0.9)
    turned = clustered_rate([won, 4], [4, 4])
    return Entry(
        tuning, 0.1, method, defense, defense, 2, turned, rate(1, 2), at, 0, rate(0, 8), at,
        0.7 - at.value, None, None, None, 1.0, 8 / 255,
    )  # fmt: skip


def test_there_is_a_picture_of_whatever_was_compared():
    some = [entry("metapoison", d, t) for t in ("no", "last") for d in DEFENSES]
    for found in (some, some[:1], [*some, entry("noise", "none")]):
        with Image.open(io.BytesIO(picture(found))) as png:
            assert png.width > 1000


def test_each_defense_is_a_point_at_its_accuracy_and_success():
    axes = new_figure(6, 4).subplots()
    found = [entry("metapoison", d, won=i) for i, d in enumerate(DEFENSES)]
    _points(axes, found, ["metapoison"])
    (points,) = (line for line in axes.lines if line.get_marker() == "o")
    xy = points.get_xydata().round(6).tolist()
    assert xy == [[0.7, 4 / 8], [0.6, 5 / 8], [0.5, 6 / 8]]
    assert [t.get_text() for t in axes.texts] == ["1", "2"]
