"""Chapter 05: its exercises and its quiz."""

from __future__ import annotations

import torch
from torch import Tensor

from mpkit.course.exercises import Verdict, exercise, number, right, wrong
from mpkit.course.quiz import load_quiz
from mpkit.ensemble import Ensemble
from mpkit.recipe import Recipe


def allowed(delta: Tensor, base: Tensor, epsilon: float) -> Tensor:
    """The change nearest to `delta` that moves no entry by more than ε, nor beyond black or white;
    pictures in [0, 1], all of one shape."""
    return (base + delta.clamp(-epsilon, epsilon)).clamp(0, 1) - base


@exercise(
    "05.age",
    "4 minutes",
    hints=(
        "Whole epochs: // divides and rounds down, % is what remains.",
        "It starts at m * T // M, and grows by c; at T it starts again at 0.",
    ),
    solution="def age(m, c, M, T):\n    return (m * T // M + c) % T",
)
def age(answer: object) -> Verdict:
    """A function of m, c, M and T: the age in epochs of surrogate m at craft step c."""
    if not callable(answer):
        return wrong("a function of m, c, M and T is wanted.")
    if answer(0, 0, 8, 30) is None:
        return Verdict(
            None, "it still returns None. Where does it start, and when does it begin again?"
        )
    counts = ((8, 30), (4, 30), (6, 20))
    places = [(m, c, M, T) for M, T in counts for m in range(M) for c in (0, 5, 29, 30, 60)]
    said = [number(answer(*place)) for place in places]
    if None in said:
        return wrong("a whole number is wanted for every surrogate and step.")
    usual = {
        "right": lambda m, c, M, T: Ensemble(M, Recipe(epochs=T), 0).ages(c)[m],
        "it grows for ever: at T comes age 0 again.": lambda m, c, M, T: m * T // M + c,
        "all of them have the same age: where is the stagger?": lambda m, c, M, T: c % T,
        "they do not grow older: add the craft step.": lambda m, c, M, T: m * T // M,
        "rounded down, please: an age in whole epochs.": lambda m, c, M, T: (m * T / M + c) % T,
        "multiply before you round: 30/8 is 3.75, and not 3.": lambda m, c, M, T: (
            (m * (T // M) + c) % T
        ),
        "rounded down, please, and not to the nearest.": lambda m, c, M, T: (
            (round(m * T / M) + c) % T
        ),
        "it goes round once only: by step 60 it is reinitialised twice.": lambda m, c, M, T: (
            a if (a := m * T // M + c) < T else a - T
        ),
        "neighbours are T/M epochs apart, not M/T or 1.": lambda m, c, M, T: (m + c) % T,
    }
    for words, rule in usual.items():
        if all(abs(s - rule(*p)) < 1e-9 for s, p in zip(said, places, strict=True)):
            if words == "right":
                return right("so at every craft step all ages are there, T/M epochs apart.")
            return wrong(words)
    truth = usual["right"]
    s, (m, c, M, T) = next(
        pair for pair in zip(said, places, strict=True) if pair[0] != truth(*pair[1])
    )
    return wrong(f"for m = {m}, c = {c}, M = {M}, T = {T} it gives {s:g}, not {truth(m, c, M, T)}.")


@exercise(
    "05.project",
    "5 minutes",
    hints=(
        "Two clamps: one of delta, one of base + delta.",
        "(base + delta.clamp(-epsilon, epsilon)).clamp(0, 1) is the poison; the change is that "
        "minus base.",
    ),
    solution=(
        "def project(delta, base, epsilon):\n"
        "    delta = delta.clamp(-epsilon, epsilon)\n"
        "    return (base + delta).clamp(0, 1) - base"
    ),
)
def project(answer: object) -> Verdict:
    """A function of delta, base and epsilon: the nearest change that is allowed."""
    if not callable(answer):
        return wrong("a function of delta, base and epsilon is wanted.")
    delta = torch.tensor([0.05, 0.30, -0.30, 0.30, -0.02, 0.08])
    base = torch.tensor([0.50, 0.50, 0.50, 0.95, 0.01, 0.50])
    said = answer(delta.clone(), base.clone(), 0.1)
    if said is None:
        return Verdict(None, "it still returns None. Two clamps will do.")
    if not isinstance(said, torch.Tensor) or said.shape != delta.shape:
        return wrong("a change is wanted, as a tensor of delta's shape.")
    near = delta.clamp(-0.1, 0.1)
    usual = (
        ("", allowed(delta, base, 0.1)),
        ("that is the poison; the change is wanted: take base off.", (base + near).clamp(0, 1)),
        ("within ±ε, but white and black are passed: 0.95 + 0.1 is no grey value.", near),
        ("valid pixels, but ε is passed.", (base + delta).clamp(0, 1) - base),
        ("all entries became ±ε: smaller changes are allowed, too.", 0.1 * delta.sign()),
        ("each entry has its own bound; you scaled all.", delta / delta.abs().max() * 0.1),
    )
    for words, wanted in usual:
        if torch.allclose(said.float(), wanted, atol=1e-6):
            return wrong(words) if words else right("every entry by itself, and both bounds hold.")
    return wrong("look at one entry: δ = 0.3 on a pixel of 0.95 with ε = 0.1 may become 0.05.")


@exercise(
    "05.independent",
    "4 minutes",
    hints=(
        "What is drawn anew for every victim, and what only for every target?",
        "Poisons are crafted once for each target. How many targets were there?",
    ),
    solution="10  # one poison set for each target; its four victims share it",
)
def independent(answer: object) -> Verdict:
    """How many independent attacks are behind 40 victims of ten targets."""
    value = number(answer)
    if value is None:
        return wrong("a whole number is wanted.")
    if value == 10:
        return right(
            "ten poison sets. An interval that took all 40 as independent would be too narrow: "
            "more targets tell you more than more victims."
        )
    if value == 40:
        return wrong("40 victims; but four of them were always given the same poisons.")
    if value == 4:
        return wrong("four victims share one set of poisons; how many sets are there?")
    if value == 1:
        return wrong("each target has poisons of its own.")
    return wrong(f"{value:g} is not it: count what was crafted, not what was trained.")


@exercise(
    "05.most",
    "6 minutes",
    hints=(
        "If a share q of all targets does better, one target does not with probability 1 - q; "
        "n targets in a row with (1 - q)**n.",
        "Set (1 - q)**n = 0.025 and solve for q.",
    ),
    solution="def most(n):\n    return 1 - 0.025 ** (1 / n)",
)
def most(answer: object) -> Verdict:
    """A function of n: the largest share of targets compatible (97.5 %) with none of n seen."""
    if not callable(answer):
        return wrong("a function of n is wanted.")
    if answer(10) is None:
        return Verdict(None, "it still returns None. How likely is it that n targets show nothing?")
    said = [number(answer(n)) for n in (1, 10, 40)]
    if None in said:
        return wrong("a number is wanted for every n.")
    usual = {
        "": lambda n: 1 - 0.025 ** (1 / n),
        "that nothing was seen does not say that nothing is there.": lambda n: 0.0,
        "that is 1 - q: the share that does not do better.": lambda n: 0.025 ** (1 / n),
        "0.05 is for one side alone; here each side has 0.025.": lambda n: 1 - 0.05 ** (1 / n),
        "(1 - q) is taken to the n-th power, not multiplied by n.": lambda n: 1 - 0.025 / n,
        "close for many targets, and 369 % for one: solve it exactly.": lambda n: 3.69 / n,
    }
    for words, rule in usual.items():
        if all(abs(s - rule(n)) < 5e-3 for s, n in zip(said, (1, 10, 40), strict=True)):
            if words:
                return wrong(words)
            return right("31 % for ten targets, 9 % for forty: no difference was seen, up to that.")
    return wrong(f"for ten targets it gives {said[1]:.3g}, not 0.308.")


QUIZ = load_quiz("05")
