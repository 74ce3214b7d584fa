"""Tests of mpkit.defenses.epic."""

import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from mpkit.defenses.defense import Defense
from mpkit.defenses.epic import epic, isolation, medoids
from mpkit.functional import State, logits
from tests.defenses.conftest import untrained


def greedy(apart: torch.Tensor, count: int) -> list[int]:
    """Facility location, as it is written down: the row that adds most, again and again."""
    near, chosen = apart.max() - apart, []
    while len(chosen) < count:
        free = [j for j in range(len(near)) if j not in chosen]
        worth = [float(near[:, [*chosen, j]].amax(1).sum()) for j in free]
        chosen.append(free[max(range(len(free)), key=worth.__getitem__)])
    return chosen


def test_medoids_are_those_of_the_plain_greedy_search():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    apart = torch.cdist(x, x)
    assert medoids(apart, 12).tolist() == greedy(apart, 12)
    assert sorted(medoids(apart, 40).tolist()) == list(range(40))


def test_isolation_compares_the_gradients_of_the_last_layer():
    module, state, data = untrained(30)

    def loss(head: dict, x, y):
        z, _ = logits(module, State(state.params | head, state.stats), x[None], train=False)
        return F.cross_entropy(z, y[None])

    head = {k: v for k, v in state.params.items() if k.startswith("head.")}
    slopes = vmap(grad(loss), (None, 0, 0))(head, data.x, data.y)
    flat = torch.cat([v.flatten(1) for v in slopes.values()], 1).double()
    for c in range(len(data.classes)):
        rows = data.rows_of(c)
        apart = torch.cdist(flat[rows], flat[rows])
        chosen = greedy(apart, max(1, int(0.3 * len(rows))))
        nearest = apart[:, chosen].argmin(1)
        sizes = nearest.bincount(minlength=len(chosen))[nearest]
        torch.testing.assert_close(
            isolation(module, state, data.x, data.y, 0.3)[rows], 1 / sizes.float()
        )


def test_who_stands_alone_goes():
    module, state, data = untrained(30)
    got = epic(module, state, data, Defense(defense="epic", medoids=0.5))
    assert torch.equal(got.keep, got.scores < 1)
    assert not got.keep.all()
