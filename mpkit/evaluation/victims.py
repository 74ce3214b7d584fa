"""Does it work, and how would we know: victims × targets → a rate, its interval, and controls.

A victim is trained from fresh weights the attacker never saw. Beside every poisoned victim stand
two twins of the same seed (same initial weights, same shuffles): one on clean data, one on bases
with random noise of the same ε. Only a difference between them is the attack's.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap

from mpkit.device import Plan, for_models
from mpkit.evaluation.records import LAST, VictimRecord, silent, tuples
from mpkit.finetuning import seen
from mpkit.functional import State, logits, own
from mpkit.layers import by_batch
from mpkit.networks import evaluations
from mpkit.perturbation import PERTURBATIONS, to_8bit
from mpkit.ranks import ALONE, Ranks
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario
from mpkit.streams import generator, stream
from mpkit.telling import Tell
from mpkit.training import EpochRecord, train

Watch = Callable[[list[VictimRecord]], object]
"""Hears what victims in training say."""


def victim_seed(seed: int, victim: int) -> int:
    """The seed of a victim: a stream that no surrogate of any run seed uses."""
    return stream(seed, "victim", victim)


def noise_poisons(
    scenario: Scenario,
    epsilon: float,
    seed: int,
    epsilon_c: float = 0.0,
    perturbation: str = "additive",
) -> Tensor:
    """The control: bases changed at random, in the same way and within the same bounds as poisons
    (a name in `PERTURBATIONS`), as 8-bit pictures: uint8 (P, C, H, W).

    What the official code calls "craft step 0".
    """
    way, bases = PERTURBATIONS[perturbation], scenario.base_images.cpu()
    drawn = way.random(bases, epsilon, epsilon_c, generator(seed, "noise"))
    return to_8bit(way, way.project(drawn, bases, epsilon, epsilon_c), bases, epsilon)


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
    victims: int | range,
    seed: int,
    labels: dict[str, Tensor] | None = None,
    plan: Plan | None = None,
    tell: Tell | None = None,
    watch: Watch | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[int, list[VictimRecord]]]:
    """Train `victims` (so many, or those of a range) on each arm's pictures, all side by side; of
    several `ranks` each its own.

    `pictures`: arm → (N, C, H, W); `labels`: arm → (N,), where they are not the right ones. Yields
    (epoch, []) while training and (epoch, records) at the end, one record a victim and arm. `tell`
    hears of their batches, and `watch` what they say of the targets after each epoch before that.
    """
    numbers = range(victims) if isinstance(victims, int) else victims
    arms = [(arm, v) for arm in pictures for v in numbers]
    arms = [arms[i] for i in ranks.own(len(arms))]
    if not arms:  # more ranks than victims
        yield recipe.epochs, []
        return
    seeds = [victim_seed(seed, v) for _, v in arms]
    sources = [pictures[arm] for arm, _ in arms]
    x, y = scenario.train.x, scenario.train.y
    if labels:
        y = torch.stack([labels.get(arm, y) for arm, _ in arms])
    runs = train(network, x, y, recipe, seeds, plan=plan, own_x=sources.__getitem__, tell=tell)
    yield from watched(scenario, network, runs, recipe.epochs, arms, plan=plan, watch=watch)


def watched(
    scenario: Scenario,
    network: nn.Module,
    runs: Iterable[tuple[State, EpochRecord]],
    epochs: int,
    arms: Sequence[tuple[str, int]],
    *,
    plan: Plan | None = None,
    watch: Watch | None = None,
) -> Iterator[tuple[int, list[VictimRecord]]]:
    """What becomes of models in training: (epoch, []) after each of their `epochs` but the last,
    and then (epoch, records). `runs` as `train` gives them; `arms`: (arm, victim) of each; `watch`
    as for `train_victims`."""
    state, before = None, deque(maxlen=LAST - 1)
    for state, record in runs:
        if record.epoch < epochs:
            if record.epoch > epochs - LAST:
                before.append(turned(scenario, network, state, plan))
            if watch:
                watch(glimpse(scenario, network, state, arms, plan))
            yield record.epoch, []
    yield epochs, judge(scenario, network, state, arms, plan, before)


def glimpse(
    scenario: Scenario,
    network: nn.Module,
    state: State,
    arms: Sequence[tuple[str, int]],
    plan: Plan | None = None,
) -> list[VictimRecord]:
    """What M models in training say of the targets; other pictures they are not asked about."""
    _, view = next(iter(evaluations(network).items()))
    said = predict(view, state, scenario.targets, scenario.train.x, plan=plan)
    fine = said.flatten(1).isfinite().all(1).tolist()
    rows = zip(*_said(scenario, said).values(), strict=True)
    found = [
        VictimRecord(*arm, *map(tuples, row[:4]), None, probabilities=tuples(row[4]))
        for arm, row in zip(arms, rows, strict=True)
    ]
    return [r if well else silent(r) for r, well in zip(found, fine, strict=True)]


Turned = dict[str | None, Tensor]


def turned(
    scenario: Scenario, network: nn.Module, state: State, plan: Plan | None = None
) -> Turned:
    """Statistics of batch norm (as `evaluations` names them) → whether the attacker has their way
    with each target, bool (M, T)."""
    found = {}
    for name, module in evaluations(network).items():
        z = predict(module, state, scenario.targets, scenario.train.x, plan=plan)
        found[name] = scenario.succeeded(z)
    return found


def judge(
    scenario: Scenario,
    network: nn.Module,
    state: State,
    arms: Sequence[tuple[str, int]],
    plan: Plan | None = None,
    before: Sequence[Turned] | None = None,
    *,
    other: bool = True,
) -> list[VictimRecord]:
    """What M trained victims say of the targets, and their accuracy; `arms`: (arm, victim) each.

    By the network's own statistics of batch norm; where it has batch norm, by the other ones in
    `other_statistics` (unless `other` is False). By those of the batch at hand, targets are asked
    together with 125 clean training pictures, and validation images up to 500 at a time.
    `before`: what `turned` gave in the epochs before this one, for `held`.
    """
    views = list(evaluations(network).items())[: 1 + other]
    found = [_answers(scenario, view, state, plan, before) for view in views]
    records = []
    for arm, *answers in zip(arms, *found, strict=True):
        first, *rest = (VictimRecord(*arm, **fields) for fields in answers)
        first, *rest = (silent(r) if r.diverged else r for r in (first, *rest))
        records.append(dataclasses.replace(first, other_statistics=rest[0]) if rest else first)
    return records


def _answers(
    scenario: Scenario, view, state: State, plan: Plan | None, before: Sequence[Turned] | None
) -> list[dict]:
    """The fields of M victims' records but for arm and number, by one kind of statistics; `view`:
    its name, and the module that evaluates by it."""
    name, module = view
    said = predict(module, state, scenario.targets, scenario.train.x, plan=plan)
    seen = predict(module, state, scenario.validation.x, plan=plan)
    weights = (_finite(t) for part in state for t in part.values())
    fine = torch.stack([_finite(said), _finite(seen), *weights]).all(0)
    columns = {
        **_said(scenario, said),
        **_accuracies(scenario, seen.argmax(-1)),
        "diverged": (~fine).tolist(),
    }
    if before is not None:
        times = torch.stack([*(earlier[name] for earlier in before), scenario.succeeded(said)])
        shares = times.sum(0).tolist()
        columns["held"] = [[k / len(times) for k in row] for row in shares]
    rows = zip(*columns.values(), strict=True)
    return [
        {"statistics": name} | {k: tuples(v) for k, v in zip(columns, row, strict=True)}
        for row in rows
    ]


def _said(scenario: Scenario, z: Tensor) -> dict[str, list]:
    """Fields of M victims' records, by their logits (M, T, classes) for the targets."""
    p = z.softmax(-1)
    pick = lambda labels: p.gather(-1, labels.expand(len(p), -1)[..., None])[..., 0].tolist()  # noqa: E731
    return {
        "predicted": z.argmax(-1).tolist(),
        "success": scenario.succeeded(z).tolist(),
        "adversarial_probability": pick(scenario.adversarial),
        "true_probability": pick(scenario.target_labels),
        "probabilities": p.tolist(),
    }


def _finite(values: Tensor) -> Tensor:
    """Tensors (M, …) → bool (M,): whether all of a model's entries are numbers."""
    return values.reshape(len(values), -1).isfinite().all(1)


def _accuracies(scenario: Scenario, found: Tensor) -> dict[str, list]:
    """Of M victims' classes (M, V) for the validation images: the shares that are right."""
    y, labels = scenario.validation.y, scenario.train.y[scenario.bases].unique()
    right = (found == y).float()

    def accuracy(rows: Tensor) -> list[float | None]:
        return right[:, rows].mean(1).tolist() if rows.any() else [None] * len(right)

    classes = [accuracy(y == c) for c in range(len(scenario.validation.classes))]
    return {
        "accuracy": accuracy(torch.ones_like(y, dtype=torch.bool)),
        "poison_accuracy": accuracy(torch.isin(y, labels)),
        "target_accuracy": accuracy(torch.isin(y, scenario.target_labels)),
        "class_accuracy": [list(row) for row in zip(*classes, strict=True)],
    }


def predict(
    network: nn.Module,
    state: State,
    x: Tensor,
    company: Tensor | None = None,
    *,
    plan: Plan | None = None,
) -> Tensor:
    """Logits (M, N, classes) of pictures x (N, …) by M models, at most 500 pictures at a time.

    Where batch norm evaluates by the batch at hand, `company` (N, …) gives x a batch of 125 to
    stand in, as the official code does for its target: alone it would be measured by itself.
    """
    return asking(network, x, company, plan=plan)(state)


def asking(
    network: nn.Module, x: Tensor, company: Tensor | None = None, *, plan: Plan | None = None
) -> Callable[[State], Tensor]:
    """`predict` of pictures that are asked about again and again: frozen layers see them once."""
    with torch.no_grad():
        x = seen(network, x)
    beside = company[:125] if company is not None and by_batch(network) else x[:0]
    # In equal parts: a short last one would have statistics of a few pictures.
    some = x.tensor_split(max(1, -(-len(x) // 500)))
    mine = threading.local()  # a thread's own module: to copy one takes longer than to ask it

    def work(models: slice, state: State) -> Tensor:
        if not hasattr(mine, "module"):
            mine.module = own(network)
        ask = partial(logits, mine.module, train=False)
        ask = ask if models.stop - models.start == 1 else vmap(ask, (0, None))
        parts = [ask(state, torch.cat([beside, part]))[0] for part in some]
        return torch.cat([z[..., len(beside) :, :] for z in parts], -2)

    return torch.no_grad()(lambda s: for_models(plan or Plan(), s.models, work, s))


def mean_accuracy(records: list[VictimRecord], arm: str) -> float:
    """Validation accuracy, averaged over an arm's victims that did not diverge; NaN for none."""
    values = [r.accuracy for r in records if r.arm == arm and r.accuracy is not None]
    return sum(values) / len(values) if values else math.nan


def timed(records: Iterator[tuple[int, list[VictimRecord]]]) -> tuple[list[VictimRecord], float]:
    """Run `train_victims` to its end: the records, and the seconds it took."""
    began = time.perf_counter()
    *_, (_, last) = records
    return last, time.perf_counter() - began
