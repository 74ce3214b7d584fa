"""Chapter 07: its exercises, its case and its quiz."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mpkit.course.exercises import Verdict, exercise, number, right, wrong
from mpkit.course.opening import RUN, opening
from mpkit.course.quiz import load_quiz
from mpkit.evaluation.rates import percent
from mpkit.finetuning import seen
from mpkit.functional import logits, own
from mpkit.runs.folder import open_run
from mpkit.runs.prepared import prepare
from mpkit.streams import generator
from mpkit.training import train


class Case(NamedTuple):
    """A model's training set, in which somebody has planted poisons, and what was kept of its
    training, of which only the last layer was trained.

    N pictures x (N, C, H, W) with labels y (N,), the `features` (N, D) that the last layer saw, and
    after each of T epochs the `errors` (T, N, classes): p − y, the gradient of the loss by the
    logits. The `target` (C, H, W) is what the model calls `said`, with its features (D,) and its
    errors (T, classes) as if `said` were its label. `planted`: how many poisons there are.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    features: Tensor
    errors: Tensor
    target: Tensor
    target_features: Tensor
    target_errors: Tensor
    said: str
    planted: int


@functools.cache
def _solved() -> tuple[Case, Tensor]:
    """The case, and bool (N,) which pictures are poisons: those of a run that ships, shuffled."""
    found, run = opening(), open_run(RUN)
    ready = prepare(run.attack, progress=False, scenario=found.scenario)
    s, module = ready.scenario, ready.victim_network
    order = torch.randperm(len(s.train), generator=generator("case"))
    x, y = s.poisoned(found.poisons.to(s.train.x.device).float() / 255)[order], s.train.y[order]
    guilty = torch.isin(order, s.bases.cpu())
    features, at = seen(module, x), seen(module, s.targets[:1])
    wanted, errors, target_errors = s.adversarial[:1], [], []
    for state, _ in train(module, x, y, run.attack.victim_recipe, [0]):
        one = state.pick(0)
        for some, labels, kept in ((features, y, errors), (at, wanted, target_errors)):
            z, _ = logits(own(module), one, some, train=False)
            kept.append(z.softmax(1) - F.one_hot(labels, z.shape[1]))
    flat = features.flatten(1), at.flatten(1)[0]
    case = Case(
        x.cpu(),
        y.cpu(),
        s.train.classes,
        flat[0].cpu(),
        torch.stack(errors).detach().cpu(),
        s.targets[0].cpu(),
        flat[1].cpu(),
        torch.stack(target_errors)[:, 0].detach().cpu(),
        s.train.classes[int(wanted)],
        int(guilty.sum()),
    )
    return case, guilty


def case() -> Case:
    """The planted run of this chapter."""
    return _solved()[0]


@exercise(
    "07.spectral",
    "7 minutes",
    hints=(
        "First take the mean of all rows off. torch.linalg.svd(f, full_matrices=False).Vh has the "
        "directions in its rows, the main one first.",
        "The score of a row f is the square of its inner product with that direction.",
    ),
    solution=(
        "import torch\n\n"
        "def spectral(features):\n"
        "    f = features - features.mean(0)\n"
        "    main = torch.linalg.svd(f, full_matrices=False).Vh[0]\n"
        "    return (f @ main) ** 2"
    ),
)
def spectral(answer: object) -> Verdict:
    """A function of one class's features (n, D): the spectral score of each row (n,)."""
    if not callable(answer):
        return wrong("a function of features is wanted.")
    draw = generator("07.spectral")
    f = torch.randn(40, 6, generator=draw, dtype=torch.float64) + 3
    f[:6] += 4 * torch.randn(6, generator=draw, dtype=torch.float64)
    said = answer(f.clone())
    if said is None:
        return Verdict(None, "it still returns None. Centre, find the main direction, project.")
    if not isinstance(said, Tensor) or said.shape != (40,):
        return wrong("one score for each row is wanted, a tensor (n,).")
    centred = f - f.mean(0)

    def along(rows: Tensor, place: int = 0) -> Tensor:
        return rows @ torch.linalg.svd(rows, full_matrices=False).Vh[place]

    usual = (
        ("", along(centred) ** 2),
        ("take the mean off first: else the main direction is the mean.", along(f) ** 2),
        ("nearly: the sign of a direction means nothing, so square it.", along(centred)),
        ("nearly: the square, and not the absolute value.", along(centred).abs()),
        ("that is the distance from the mean, in all directions at once.", (centred**2).sum(1)),
        ("that is the direction that matters least: take the first.", along(centred, -1) ** 2),
    )
    for words, wanted in usual:
        if torch.allclose(said.double(), wanted, rtol=1e-4, atol=1e-6):
            return wrong(words) if words else right("whoever sticks out in one direction is high.")
    if torch.allclose(said.double(), -along(centred), rtol=1e-4):
        return wrong(usual[2][0])
    return wrong(f"the first row's score is {float(said[0]):.4g}, not {float(usual[0][1][0]):.4g}.")


ENOUGH = 0.7
"""Precision at which the poisons count as found; a blind pick within their class has 0.6."""


@exercise(
    "07.find",
    "10 minutes",
    hints=(
        "In epoch t row i lowers the loss of the target by (errors[t, i] · target_errors[t]) times "
        "(features[i] · target_features + 1), or raises it, where that is negative.",
        "(c.errors * c.target_errors[:, None]).sum(-1).sum(0) adds the first factor up over all "
        "epochs. Multiply, and take topk(c.planted).indices.",
    ),
    solution=(
        "from mpkit.course.ch07 import case\n\n"
        "c = case()\n"
        "alike = (c.errors * c.target_errors[:, None]).sum(-1).sum(0)\n"
        "suspects = (alike * (c.features @ c.target_features + 1)).topk(c.planted).indices"
    ),
)
def find(answer: object) -> Verdict:
    """The rows of the suspects, as many as were planted."""
    planted, rows = case().planted, _rows(answer)
    if rows is None:
        return wrong(f"a list, or a tensor, of {planted} row numbers is wanted.")
    _, guilty = _solved()
    if len(rows) != planted or min(rows) < 0 or max(rows) >= len(guilty):
        return wrong(
            f"{planted} different rows from 0 to {len(guilty) - 1} are wanted, not {len(rows)}."
        )
    hits, chance = int(guilty[rows].sum()), percent(planted / len(guilty), 0)
    share = hits / planted
    told = f"{hits} of {planted} are poisons: a precision of {percent(share, 0)}"
    if share >= ENOUGH:
        return right(f"{told}, where a blind pick has {chance}.")
    if share >= 0.5:
        return wrong(
            f"{told}. A blind pick within the class “{case().said}” has about 60 %: use the target."
        )
    if share <= 0.02:
        return wrong(f"{told}: fewer than by chance. Is the sign right?")
    return wrong(f"{told}; a blind pick of all has {chance}.")


def _rows(answer: object) -> list[int] | None:
    """Distinct whole numbers; None for anything else."""
    if isinstance(answer, Tensor) and answer.dim() == 1 and not answer.is_floating_point():
        answer = answer.tolist() if answer.dtype != torch.bool else None
    if not isinstance(answer, list | tuple | set) or not answer:
        return None
    found = [number(row) for row in answer]
    if not all(row is not None and row.is_integer() for row in found):
        return None
    return sorted({int(row) for row in found})


def certificate(votes: list[int]) -> tuple[int, int]:
    """The class that wins, the lower one of several, and how many insertions and removals of
    pictures cannot change that; `votes` by class."""
    c = votes.index(max(votes))
    rivals = [n + (other < c) for other, n in enumerate(votes) if other != c]
    return c, (votes[c] - max(rivals)) // 2


VOTES = ([9, 3, 2], [3, 9, 2], [5, 5, 0], [0, 5, 4], [2, 9, 6, 3], [0, 0, 7], [4, 8, 1])


@exercise(
    "07.certificate",
    "7 minutes",
    hints=(
        "Each picture that is put in or taken out spoils one part. One spoilt vote makes the "
        "winner's lead smaller by two.",
        "A rival with a lower number wins a tie, so count one vote more for it. Then: half of the "
        "lead over the best rival, rounded down.",
    ),
    solution=(
        "def certified(votes):\n"
        "    winner = votes.index(max(votes))\n"
        "    rivals = [n + (c < winner) for c, n in enumerate(votes) if c != winner]\n"
        "    return (votes[winner] - max(rivals)) // 2"
    ),
)
def certified(answer: object) -> Verdict:
    """A function of votes by class: how many insertions and removals cannot change the answer."""
    if not callable(answer):
        return wrong("a function of votes is wanted.")
    if answer([9, 3, 2]) is None:
        return Verdict(None, "it still returns None. How large is the lead?")
    said = [number(answer(list(votes))) for votes in VOTES]
    if None in said:
        return wrong("a whole number is wanted for every list of votes.")
    usual: dict[str, Callable[[list[int]], float]] = {
        "": lambda v: certificate(v)[1],
        "a spoilt vote leaves the winner and goes to a rival: the lead falls by two.": lambda v: (
            sorted(v)[-1] - sorted(v)[-2]
        ),
        "nearly: where votes are tied the lower class wins, so a lower rival needs one less.": (
            lambda v: (sorted(v)[-1] - sorted(v)[-2]) // 2
        ),
        "a whole number of pictures is wanted: round down.": lambda v: (
            (sorted(v)[-1] - sorted(v)[-2]) / 2
        ),
        "nearly: a rival with a higher number loses a tie, and gets no vote more.": lambda v: (
            (sorted(v)[-1] - sorted(v)[-2] - 1) // 2
        ),
        "half of all votes is not the lead over the best rival.": lambda v: sum(v) // 2,
    }
    for words, rule in usual.items():
        if all(abs(s - rule(v)) < 1e-9 for s, v in zip(said, VOTES, strict=True)):
            return wrong(words) if words else right("no attack at all can do more, however clever.")
    s, votes = next(p for p in zip(said, VOTES, strict=True) if p[0] != certificate(p[1])[1])
    return wrong(f"for votes {votes} it gives {s:g}, not {certificate(votes)[1]}.")


@exercise(
    "07.parts",
    "4 minutes",
    hints=(
        "A changed picture is one taken out and one put in: they may lie in two different parts.",
        "60 changed pictures spoil up to 120 votes, and each costs the winner's lead two.",
    ),
    solution="240",
)
def parts(answer: object) -> Verdict:
    """The least number of parts at which 60 changed pictures can be certified at all."""
    value = number(answer)
    if value is None:
        return wrong("a whole number is wanted.")
    if value in (240, 241):
        return right(
            "and only where all of them agree: models that saw two or three pictures each, of six "
            "classes. They do not agree. So 10 % of 600 can never be certified."
        )
    if value == 120:
        return wrong("120 votes are spoilt, but each is lost to the winner and won by a rival.")
    if value == 60:
        return wrong("a changed picture is one taken out and one put in: two parts.")
    if value in (600, 480):
        return wrong(f"fewer are enough: what is the lead if all {value:g} agree?")
    return wrong(f"{value:g} is not it: how many votes do 60 changed pictures spoil at most?")


QUIZ = load_quiz("07")
