"""UnrollLab's picture: arrows that can be seen, points, losses, limits with room."""

from __future__ import annotations

import math

import pytest
import torch

from mpkit.lab.kit.tools import Line
from mpkit.lab.unroll_toy import make_toy, network
from mpkit.lab.unroll_view import EDGE, GRID, UnrollView, drawn, lengths


@pytest.fixture
def view():
    return UnrollView(4, moves=8, furthest=6)


def test_arrows_keep_their_direction_and_their_order_and_can_all_be_seen():
    arrows = torch.tensor([[3.0, 4.0], [-0.1, 0.0], [1e-6, 1e-6]])
    found = drawn(arrows)
    lengths = found.norm(dim=1)
    assert float(lengths[0]) > float(lengths[1]) > float(lengths[2]) == pytest.approx(0.15)
    assert torch.allclose(found / lengths[:, None], arrows / arrows.norm(dim=1, keepdim=True))


def test_arrows_are_as_long_in_every_picture_and_their_lengths_can_be_read(view):
    toy = make_toy(0)
    shown = {}
    for steps in (1, 10):
        arrows = -toy.look_ahead(toy.poisons, steps, 0.5)[0]
        view.points(toy, toy.poisons, arrows)
        tips = torch.stack([torch.tensor(view.quiver.U), torch.tensor(view.quiver.V)], 1)
        shown[steps] = tips.norm(dim=1), view.lengths.get_text().splitlines()[1:]
        assert shown[steps][1] == [f"{i}: {a.norm():.2g}" for i, a in enumerate(arrows, 1)]
    assert (shown[10][0] > shown[1][0] + 0.05).all()  # K = 10 looks otherwise than K = 1
    assert not set(shown[1][1]) & set(shown[10][1])
    far, near = drawn(torch.tensor([[1.0, 0.0], [0.01, 0.0]]))[:, 0]
    alone = drawn(torch.tensor([[0.01, 0.0]]))[0, 0]
    assert float(near) == float(alone)  # whatever stands beside it
    assert float(far - near) == pytest.approx(2 * 0.17)


def test_no_arrow_is_drawn_where_there_is_no_slope():
    assert drawn(torch.zeros(3, 2)).abs().max() == 0
    assert drawn(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))[1].abs().max() == 0


def test_every_point_is_where_it_is(view):
    toy = make_toy(0)
    arrows = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    view.points(toy, toy.poisons, arrows)
    for label, artist in enumerate(view.clean):
        assert torch.equal(torch.tensor(artist.get_xydata()).float(), toy.x[toy.y == label])
    assert torch.equal(torch.tensor(view.bad.get_xydata()).float(), toy.poisons)
    assert torch.equal(torch.tensor(view.target.get_xydata()).float(), toy.target)
    assert torch.equal(torch.tensor(view.quiver.get_offsets()).float(), toy.poisons)
    tips = torch.stack([torch.tensor(view.quiver.U), torch.tensor(view.quiver.V)], 1).float()
    assert torch.allclose(tips, drawn(arrows))
    assert [t.get_text() for t in view.numbers] == ["1", "2", "3", "4"]
    assert view.lengths.get_text().splitlines() == lengths(arrows)
    for text, (x, y) in zip(view.numbers, toy.poisons.tolist(), strict=True):
        assert math.dist(text.get_position(), (x, y)) < 0.2


def test_the_ground_is_what_a_network_says_there(view):
    toy = make_toy(1)
    view.trained(toy.params, "after 3 steps")
    ground = torch.tensor(view.ground.get_array())
    assert ground.shape == (GRID, GRID)
    for row, column in ((0, 0), (10, 40), (59, 59)):
        x, y = (-EDGE + 2 * EDGE * i / (GRID - 1) for i in (column, row))
        said = network(toy.params, torch.tensor([[x, y]])).softmax(-1)[0, 1]
        assert float(ground[row, column]) == pytest.approx(float(said), abs=1e-5)
    assert view.plane.get_title(loc="left") == "after 3 steps"


def test_losses_lie_within_the_limits(view):
    view.compare([Line("last run", [0, 1], [-7.0, 2.0])])
    view.curves([1.0, -3.0, 5.0], ([0, 1], [4.0, 3.0]), [(0.5, "K 3 → 1")])
    assert list(view.look_line.get_ydata()) == [1, -3, 5]
    assert list(view.move_line.get_ydata()) == [4, 3]
    for axes, values in ((view.ahead, (-3, 5)), (view.history, (-7, 4))):
        low, high = axes.get_ylim()
        assert low < min(values)
        assert high > max(values)
    view.curves([0.0], ([], []), [])
    assert len(view.move_line.get_ydata()) == 0
    view.show_guess(3)
    assert list(view.guess.get_xdata()) == [3, 3]


def test_the_boxes_are_drawn_one_by_one(view):
    view.bounds(torch.tensor([[0.0, 1.0, 2.0, 3.0], [-1.0, -1.0, 1.0, 1.0]]))
    xs, ys = map(list, view.boxes.get_data())
    assert xs[:5] == [0, 2, 2, 0, 0]
    assert ys[:5] == [1, 1, 3, 3, 1]
    assert xs[6:11] == [-1, 1, 1, -1, -1]
    assert ys[6:11] == [-1, -1, 1, 1, -1]
    assert all(math.isnan(v[5]) for v in (xs, ys))
