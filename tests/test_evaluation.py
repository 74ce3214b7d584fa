"""Counting, controls, scenarios and plans."""

import math

import numpy as np
import pytest
import torch

from mpkit.data import Dataset
from mpkit.device import Plan, pick_device
from mpkit.evaluation import noise_poisons, train_victims, victim_seed
from mpkit.networks import network
from mpkit.rates import clustered_rate, fallen, rate
from mpkit.recipe import Recipe
from mpkit.scenario import adversarial_loss, make_scenario
from mpkit.tally import success_rate
from mpkit.training import stream

torch.set_num_threads(1)


def dataset(n, seed):
    x = torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
    return Dataset(x.float() / 255, torch.arange(n) % 3, ("a", "b", "c"), "noise")


TRAIN, TEST = dataset(30, 0), dataset(15, 1)
SCENARIO = make_scenario(TRAIN, TEST, "a", "b")


@pytest.mark.parametrize(("k", "n"), [(0, 8), (8, 8), (3, 20), (105, 120)])
def test_wilson_interval(k, n):
    found, z = rate(k, n), 1.959963984540054
    centre, p = (k + z * z / 2) / (n + z * z), k / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert abs(found.low - max(0, centre - half)) < 1e-9
    assert abs(found.high - min(1, centre + half)) < 1e-9
    with pytest.raises(ValueError, match="no rate"):
        rate(n + 1, n)


def test_victims_of_one_target_are_not_counted_as_independent():
    """The interval lies between that of all victims and that of targets, by how alike they are."""
    alike, mixed = [6] * 12 + [0] * 8, [3] * 20
    found, targets = clustered_rate(alike, [6] * 20), rate(12, 20)
    assert (found.successes, found.n) == (72, 120)
    assert (found.low, found.high) == pytest.approx((targets.low, targets.high))
    for counts in (mixed, [2, 3, 4] * 6 + [3, 3]):  # no more alike than chance
        found, victims = clustered_rate(counts, [6] * 20), rate(60, 120)
        assert (found.low, found.high) == pytest.approx((victims.low, victims.high))
    some = clustered_rate([6, 5, 6, 1, 0, 2, 6, 6, 1, 4], [6] * 10)
    assert rate(37, 60).low > some.low > rate(6, 10).low
    none, three = clustered_rate([0] * 20, [6] * 20), clustered_rate([6] * 3, [6] * 3)
    assert (none.low, none.high) == pytest.approx((0.0, rate(0, 20).high))
    assert (three.low, three.high) == pytest.approx((rate(3, 3).low, 1.0))


def test_clustered_intervals_hold_what_they_promise():
    """Targets that fall by chances of their own, drawn many times: 95 of 100 hold the true rate."""
    draw, held, naive = np.random.default_rng(0), 0, 0
    for _ in range(400):
        chances = draw.beta(0.8, 0.8, 20)
        counts = draw.binomial(6, chances).tolist()
        found, plain = clustered_rate(counts, [6] * 20), rate(sum(counts), 120)
        held += found.low <= 0.5 <= found.high
        naive += plain.low <= 0.5 <= plain.high
    assert held >= 0.92 * 400
    assert naive < 0.85 * 400


def test_a_target_has_fallen_when_more_than_half_of_its_victims_turned():
    found = fallen([6, 4, 3, 2, 0], [6] * 5)
    assert (found.successes, found.n) == (2, 5)
    assert (found.low, found.high) == (rate(2, 5).low, rate(2, 5).high)
    for bad in (([], []), ([1], [2, 3]), ([7], [6])):
        with pytest.raises(ValueError, match=r"for 0 targets|1 counts|no rate"):
            clustered_rate(*bad)


def test_noise_control_is_eight_bit_within_epsilon_and_reaches_it():
    noise = noise_poisons(SCENARIO, 20.5 / 255, 0)
    away = noise.int() - (SCENARIO.base_images * 255).round().int()
    assert noise.dtype == torch.uint8
    assert away.abs().max() == 20
    assert torch.equal(noise, noise_poisons(SCENARIO, 20.5 / 255, 0))


def test_twins_share_weights_and_order():
    pictures = {"poisoned": TRAIN.x, "clean": TRAIN.x}
    net = network("mlp", (1, 8, 8), 3)
    *_, (_, found) = train_victims(
        SCENARIO, net, Recipe(epochs=2, batch=5), pictures, victims=3, seed=0
    )
    for v in range(3):
        one, two = (r for r in found if r.victim == v)
        assert one.adversarial_probability == pytest.approx(two.adversarial_probability, abs=1e-6)
        assert one.accuracy == two.accuracy
    assert success_rate(found, "clean").n == 3
    assert len({r.adversarial_probability for r in found if r.arm == "clean"}) == 3


def test_victims_never_share_a_seed_with_surrogates():
    victims = {victim_seed(s, v) for s in range(20) for v in range(20)}
    surrogates = {
        stream(s, "surrogate", m, c) for s in range(20) for m in range(20) for c in range(5)
    }
    assert len(victims) == 400
    assert not victims & surrogates


def test_margin_against_a_loop_and_no_floor_of_zero():
    z = torch.tensor([[-3.0, -1.0, -2.0]])
    assert adversarial_loss(z[None], SCENARIO).item() == pytest.approx(-2.0 - -1.0)
    assert adversarial_loss(z[None], SCENARIO, kappa=0.5).item() == -0.5
    assert adversarial_loss(z[None], SCENARIO, "cross-entropy").item() == pytest.approx(
        -math.log(math.exp(-1) / (math.exp(-3) + math.exp(-1) + math.exp(-2)))
    )
    hide = make_scenario(TRAIN, TEST, "a", goal="self-concealment")
    p = math.exp(-3) / (math.exp(-3) + math.exp(-1) + math.exp(-2))
    assert adversarial_loss(z[None], hide, "cross-entropy").item() == pytest.approx(
        -math.log(1 - p), rel=1e-4
    )
    assert adversarial_loss(z[None], hide).item() == pytest.approx(-3.0 - -1.0)
    assert hide.succeeded(torch.tensor([1])).item()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budget": 0}, "above 0"),
        ({"budget": 0.001}, "less than one poison"),
        ({"budget": 0.9}, "has only 10"),
        ({"poison_class": "a"}, "must differ"),
        ({"adversarial_class": "a"}, "must differ"),
        ({"target_class": "z"}, "there are: a, b, c"),
        ({"target_index": 5}, "0 … 4"),
        ({"target_index": []}, "one or more"),
        ({"goal": "fame"}, "targeted, self-concealment"),
        ({"goal": "self-concealment"}, "leave poison class"),
        ({"goal": "multi-class"}, "no poison class"),
        ({"poison_class": None}, "needs a poison class"),
    ],
)
def test_scenarios_that_make_no_sense(given, words):
    with pytest.raises(ValueError, match=words):
        make_scenario(TRAIN, TEST, **{"target_class": "a", "poison_class": "b"} | given)


def test_multi_class_takes_bases_from_every_class():
    s = make_scenario(TRAIN, TEST, "a", adversarial_class="c", budget=0.2, goal="multi-class")
    assert TRAIN.y[s.bases].bincount().tolist() == [2, 2, 2]


def test_out_of_memory_halves_the_chunk_and_goes_on():
    def work(models):
        if models.stop - models.start > 2:
            raise torch.OutOfMemoryError("no")
        return list(range(models.start, models.stop))

    for plan in (Plan(7), Plan(5, 2)):
        assert [i for part in plan.map(work, 9) for i in part] == list(range(9))

    def hopeless(models):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="allocate"):
        Plan(4).map(hopeless, 4)


def test_other_errors_in_threads_are_not_swallowed_and_threads_are_restored():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        Plan(1, 2).map(lambda models: 1 / 0, 4)
    assert torch.get_num_threads() == before


def test_devices_that_are_not_here_are_refused():
    with pytest.raises(ValueError, match="this machine has: auto, cpu"):
        pick_device("abacus")
