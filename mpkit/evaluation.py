"""Does it work, and how would we know: victims × targets → a rate, its interval, and controls.

A victim is trained from fresh weights the attacker never saw. Beside every poisoned victim stand
two twins of the same seed (same initial weights, same shuffles): one on clean data, one on bases
with random noise of the same ε. Only a difference between them is the attack's.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from mpkit.device import Plan
from mpkit.functional import Network, State
from mpkit.scenario import Scenario
from mpkit.training import Recipe, generator, stream, train

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
    network: Network,
    recipe: Recipe,
    pictures: dict[str, Tensor],
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
    runs = train(
        network, scenario.train.x, scenario.train.y, recipe, seeds, plan, own_x=sources.__getitem__
    )
    state = None
    for state, record in runs:  # noqa: B007
        if record.epoch < recipe.epochs:
            yield record.epoch, []
    yield recipe.epochs, judge(scenario, network, state, arms, plan)


def judge(
    scenario: Scenario, network: Network, state: State, arms, plan: Plan | None = None
) -> list[VictimRecord]:
    """What trained victims say of the targets, and their accuracy; `arms`: (arm, victim) each."""

    def work(models: slice) -> list[VictimRecord]:
        part = state.pick(models)
        logits = predict(network, part, scenario.targets, scenario.train.x)
        correct = sum(
            (predict(network, part, x).argmax(-1) == y).sum(1)
            for x, y in zip(
                scenario.validation.x.split(500), scenario.validation.y.split(500), strict=True
            )
        )
        accuracy = correct / len(scenario.validation)
        return [
            _victim_record(scenario, *arms[models.start + i], logits[i], accuracy[i].item())
            for i in range(len(logits))
        ]

    return [r for part in (plan or Plan()).map(work, len(arms)) for r in part]


def predict(network: Network, state: State, x: Tensor, company: Tensor | None = None) -> Tensor:
    """Logits (M, T, classes) of pictures x (T, C, H, W) by M models.

    Where batch norm evaluates by the batch at hand, `company` (N, C, H, W) gives x a batch of 125
    to stand in, as the official code does for its target.
    """
    count = len(next(iter(state.params.values())))
    batch = torch.cat([company[:125], x]) if network.by_batch and company is not None else x
    with torch.no_grad():
        return network(state, batch.expand(count, *batch.shape), train=False)[0][:, -len(x) :]


def _victim_record(
    scenario: Scenario, arm: str, victim: int, logits: Tensor, accuracy: float
) -> VictimRecord:
    p, predicted = logits.softmax(-1), logits.argmax(-1)
    pick = lambda labels: tuple(p.gather(1, labels[:, None])[:, 0].tolist())  # noqa: E731
    return VictimRecord(
        arm, victim, tuple(predicted.tolist()), tuple(scenario.succeeded(predicted).tolist()),
        pick(scenario.adversarial), pick(scenario.target_labels), accuracy,
    )  # fmt: skip


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
