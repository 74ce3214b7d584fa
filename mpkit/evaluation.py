"""Does it work, and how would we know: victims × targets → a rate, its interval, and controls.

A victim is trained from fresh weights the attacker never saw. Beside every poisoned victim stand
two twins of the same seed (same initial weights, same shuffles): one on clean data, one on bases
with random noise of the same ε. Only a difference between them is the attack's.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap

from mpkit.device import Plan
from mpkit.functional import State, for_models, logits, own, seen
from mpkit.layers import by_batch
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario
from mpkit.training import generator, stream, train

ARMS = ("poisoned", "clean", "noise")


@dataclasses.dataclass(frozen=True)
class Rate:
    """`successes` of `n`, with the 95 % Wilson score interval (Wilson 1927) in `low`, `high`."""

    successes: int
    n: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.successes / self.n

    def __str__(self) -> str:
        return (
            f"{self.successes}/{self.n} = {self.rate:.0%} "
            f"(95 % interval {self.low:.0%} to {self.high:.0%})"
        )


def rate(successes: int, n: int) -> Rate:
    """A success rate with its interval. Raises ValueError unless 0 ≤ successes ≤ n and n ≥ 1."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n} is no rate")
    from scipy.stats import binomtest  # slow to import, and needed at the end of a run only

    ci = binomtest(successes, n).proportion_ci(method="wilson")
    return Rate(successes, n, float(ci.low), float(ci.high))


def clustered_rate(successes: Sequence[int], ns: Sequence[int]) -> Rate:
    """A rate over the victims of several targets, `successes` of `ns` each, with its interval.

    Victims of one target are no independent trials: they share its poisons. So the interval is
    Wilson's with n divided by the design effect 1 + (m − 1)·ρ (Kish 1965), ρ the intraclass
    correlation by analysis of variance, between 0 and 1. Where all victims agree it is taken as 1:
    as many trials as targets. Raises ValueError where `rate` does, and for no target.
    """
    if not ns or len(successes) != len(ns):
        raise ValueError(f"{len(successes)} counts of successes for {len(ns)} targets")
    for k, n in zip(successes, ns, strict=True):
        rate(k, n)
    total, won, targets = sum(ns), sum(successes), len(ns)
    p, each = won / total, [k / n for k, n in zip(successes, ns, strict=True)]
    within = sum(n * q * (1 - q) for q, n in zip(each, ns, strict=True)) / max(1, total - targets)
    between = sum(n * (q - p) ** 2 for q, n in zip(each, ns, strict=True)) / max(1, targets - 1)
    size = (total - sum(n * n for n in ns) / total) / max(1, targets - 1)
    spread = between + (size - 1) * within
    rho = min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 1.0
    return Rate(won, total, *_wilson(p, total / (1 + (total / targets - 1) * rho)))


def _wilson(p: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share p of n trials, of which there may be a fraction."""
    z = 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def fallen(successes: Sequence[int], ns: Sequence[int]) -> Rate:
    """The share of targets that fell: that more than half of their victims gave the class wanted.

    Each target is one trial, so the interval is Wilson's over targets. Raises ValueError as `rate`.
    """
    return rate(sum(2 * k > n for k, n in zip(successes, ns, strict=True)), len(ns))


@dataclasses.dataclass(frozen=True)
class VictimRecord:
    """One trained victim. `predicted` and `adversarial_probability`, `true_probability` per target;
    `accuracy` on the validation images; `success` per target (see `Scenario.succeeded`)."""

    arm: str
    victim: int
    predicted: tuple[int, ...]
    success: tuple[bool, ...]
    adversarial_probability: tuple[float, ...]
    true_probability: tuple[float, ...]
    accuracy: float


def victim_seed(seed: int, victim: int) -> int:
    """The seed of a victim: a stream that no surrogate of any run seed uses."""
    return stream(seed, "victim", victim)


def noise_poisons(scenario: Scenario, epsilon: float, seed: int) -> Tensor:
    """The control: bases plus uniform noise in ±ε, as 8-bit pictures. uint8 (P, C, H, W).

    What the official code calls "craft step 0".
    """
    bound = int(255 * epsilon + 1e-6)
    bases = (scenario.base_images.cpu() * 255).round().to(torch.int64)
    noise = torch.randint(-bound, bound + 1, bases.shape, generator=generator(seed, "noise"))
    return (bases + noise).clamp(0, 255).to(torch.uint8)


def arm_pictures(scenario: Scenario, poisons: Tensor | None) -> Tensor:
    """Training pictures (N, C, H, W) with uint8 `poisons` in place; None leaves them clean."""
    if poisons is None:
        return scenario.train.x
    return scenario.poisoned(poisons.to(scenario.train.x.device).float() / 255)


def train_victims(
    scenario: Scenario,
    network: nn.Module,
    recipe: Recipe,
    pictures: dict[str, Tensor],
    *,
    victims: int,
    seed: int,
    plan: Plan | None = None,
) -> Iterator[tuple[int, list[VictimRecord]]]:
    """Train `victims` on each arm's pictures (name → (N, C, H, W)), all side by side.

    Yields (epoch, []) while training and (epoch, records) at the end, one record a victim and arm.
    """
    arms = [(arm, v) for arm in pictures for v in range(victims)]
    seeds = [victim_seed(seed, v) for _, v in arms]
    sources = [pictures[arm] for arm, _ in arms]
    x, y = scenario.train.x, scenario.train.y
    runs = train(network, x, y, recipe, seeds, plan=plan, own_x=sources.__getitem__)
    state = None
    for state, record in runs:  # noqa: B007
        if record.epoch < recipe.epochs:
            yield record.epoch, []
    yield recipe.epochs, judge(scenario, network, state, arms, plan)


def judge(
    scenario: Scenario, network: nn.Module, state: State, arms, plan: Plan | None = None
) -> list[VictimRecord]:
    """What trained victims say of the targets, and their accuracy; `arms`: (arm, victim) each."""
    said = predict(network, state, scenario.targets, scenario.train.x, plan=plan)
    found = predict(network, state, scenario.validation.x, plan=plan).argmax(-1)
    accuracy = (found == scenario.validation.y).float().mean(1)
    return [
        _victim_record(scenario, *arm, z, a)
        for arm, z, a in zip(arms, said, accuracy.tolist(), strict=True)
    ]


def predict(
    network: nn.Module,
    state: State,
    x: Tensor,
    company: Tensor | None = None,
    *,
    plan: Plan | None = None,
) -> Tensor:
    """Logits (M, N, classes) of pictures x (N, C, H, W) by M models, 500 pictures at a time.

    Where batch norm evaluates by the batch at hand, `company` (N, C, H, W) gives x a batch of 125
    to stand in, as the official code does for its target.
    """
    with torch.no_grad():
        x = seen(network, x)
    beside = company[:125] if company is not None and by_batch(network) else x[:0]

    def work(models: slice, state: State) -> Tensor:
        ask = partial(logits, own(network), train=False)
        ask = ask if models.stop - models.start == 1 else vmap(ask, (0, None))
        parts = [ask(state, torch.cat([beside, some]))[0] for some in x.split(500)]
        return torch.cat([z[..., len(beside) :, :] for z in parts], -2)

    with torch.no_grad():
        return for_models(plan or Plan(), state.models, work, state)


def _victim_record(
    scenario: Scenario, arm: str, victim: int, logits: Tensor, accuracy: float
) -> VictimRecord:
    p, predicted = logits.softmax(-1), logits.argmax(-1)
    pick = lambda labels: tuple(p.gather(1, labels[:, None])[:, 0].tolist())  # noqa: E731
    return VictimRecord(
        arm=arm,
        victim=victim,
        predicted=tuple(predicted.tolist()),
        success=tuple(scenario.succeeded(predicted).tolist()),
        adversarial_probability=pick(scenario.adversarial),
        true_probability=pick(scenario.target_labels),
        accuracy=accuracy,
    )


def success_rate(records: list[VictimRecord], arm: str) -> Rate:
    """Successes over all victims × targets of an arm."""
    outcomes = [s for r in records if r.arm == arm for s in r.success]
    return rate(sum(outcomes), len(outcomes))


def mean_accuracy(records: list[VictimRecord], arm: str) -> float:
    """Validation accuracy, averaged over the victims of an arm."""
    values = [r.accuracy for r in records if r.arm == arm]
    return sum(values) / len(values)


def timed(records: Iterator[tuple[int, list[VictimRecord]]]) -> tuple[list[VictimRecord], float]:
    """Run `train_victims` to its end: the records, and the seconds it took."""
    began = time.perf_counter()
    *_, (_, last) = records
    return last, time.perf_counter() - began
