"""Chapter 08: its exercises and its quiz."""

from __future__ import annotations

from pathlib import Path

from mpkit.contest.limits import limits_of
from mpkit.contest.submission import submission_of
from mpkit.course.exercises import Verdict, exercise, number, right, wrong
from mpkit.course.quiz import load_quiz
from mpkit.evaluation.rates import Rate, clustered_rate

LIMITS = {
    "budget": 0.1, "epsilon": "8/255", "craft_seconds": 20, "judge_seconds": 60,
    "targets": 4, "victims": 4, "allowance": 0.02,
}  # fmt: skip
"""What the chapter's teams may do, on road signs whose last layer is trained anew."""

HINTS = {
    "epsilon must lie": "Pixels are in [0, 1]: eight levels of 255 are 8/255.",
    "budget must": "The budget is a share: 10 % are 0.1.",
    "unknown": "What is not a name of the rules is refused, whatever it means.",
}
"""What is behind a refusal, where that is a usual slip."""


@exercise(
    "08.submission",
    "6 minutes",
    hints=(
        'Three names: "team", "side" and "attack". What is in "attack" is as make_attack takes it.',
        'Within the limits: "epsilon" at most "8/255", "budget" at most 0.1. "craft_steps", '
        '"unroll_steps", "models" and so on are yours.',
    ),
    solution=(
        '{"team": "Owls", "side": "red",\n'
        ' "attack": {"epsilon": "8/255", "budget": 0.1, "craft_steps": 60}}'
    ).replace("\n", ""),
)
def submission(answer: object) -> Verdict:
    """A red team's submission, as a dictionary, within the chapter's limits."""
    if not isinstance(answer, dict):
        return wrong("a dictionary is wanted: names and values, and nothing that could run.")
    try:
        found = submission_of(answer, limits_of(LIMITS), Path("mine.json"))
    except (TypeError, ValueError) as error:
        more = [words for part, words in HINTS.items() if part in str(error)]
        return wrong(f"it is refused: {error}. {' '.join(more)}".rstrip())
    if found.side != "red":
        return wrong("that one defends. Write one that attacks.")
    return right(f"accepted, with {found.what}. Whether it wins, nobody knows yet.")


CASES = (
    (6, 16, 0.95, 0.94, 0.02),  # cheap
    (4, 16, 0.95, 0.85, 0.02),  # dear
    (0, 16, 0.90, 0.93, 0.02),  # better than without
    (16, 16, 0.95, 0.80, 0.02),  # no points at all
)
"""Victims that turned, of so many; clean accuracy without and with the defense; allowance."""


def _points(turned, n, without, defended, allowance) -> float:
    return 100 * max(0.0, 1 - turned / n - max(0.0, without - defended - allowance))


@exercise(
    "08.points",
    "7 minutes",
    hints=(
        "Two parts: the share that held, 1 − turned/n; and what the defense costs beyond the "
        "allowance, which is never less than nothing.",
        "max(0, …) twice: around the cost, and around the whole.",
    ),
    solution=(
        "def points(turned, n, without, defended, allowance):\n"
        "    cost = max(0, without - defended - allowance)\n"
        "    return 100 * max(0, 1 - turned / n - cost)"
    ),
)
def points(answer: object) -> Verdict:
    """A function of five numbers: a blue team's points, from 0 to 100."""
    if not callable(answer):
        return wrong("a function of turned, n, without, defended and allowance is wanted.")
    said = [answer(*case) for case in CASES]
    if said[0] is None:
        return Verdict(None, "it still returns None. The rule stands above.")
    found = [number(value) for value in said]
    if None in found:
        return wrong("one number is wanted.")
    truth = [_points(*case) for case in CASES]
    if _alike(found, truth):
        return right("the second team held more victims than the first, and is hardly better off.")
    for words, slip in _SLIPS.items():
        if _alike(found, [slip(*case) for case in CASES]):
            return wrong(words)
    return wrong(f"6 of 16 turned at a cost of one point: {truth[0]:.1f}, and not {found[0]:g}.")


def _alike(found: list[float], wanted: list[float]) -> bool:
    return all(abs(a - b) < 0.01 for a, b in zip(found, wanted, strict=True))


_SLIPS = {
    "right, but as a share; points go from 0 to 100.": lambda *c: _points(*c) / 100,
    "those are red's: blue gets points for the victims that did not turn.": (
        lambda k, n, *_: 100 * k / n
    ),
    "and the price? A defense that ruins every model would win.": lambda k, n, *_: (
        100 * (1 - k / n)
    ),
    "where is the allowance? A defense may cost a little for nothing.": (
        lambda k, n, a, b, _: _points(k, n, a, b, 0)
    ),
    "the third defense makes models better than without one: that is no cost, and earns nothing.": (
        lambda k, n, a, b, free: 100 * max(0.0, 1 - k / n - (a - b - free))
    ),
    "the last team has less than no points: 0 is the least.": (
        lambda k, n, a, b, free: 100 * (1 - k / n - max(0.0, a - b - free))
    ),
}

PAIRS = {"a": (4, 4, 4, 4), "b": (4, 0, 0, 4), "c": (0, 0, 0, 0), "d": (3, 1, 2, 2)}
"""Of four pairs of teams: how many of the four victims of each of four targets turned."""


def rate_of(pair: str) -> Rate:
    """The rate of one of `PAIRS`, with its interval."""
    return clustered_rate(PAIRS[pair], [4] * len(PAIRS[pair]))


@exercise(
    "08.rerun",
    "6 minutes",
    hints=(
        "What is known least has the widest interval. Do b and d, 8 of 16 each, have the same?",
        "Victims of one target share its poisons. In b they all agree: how many trials are that?",
    ),
    solution='"b"',
)
def rerun(answer: object) -> Verdict:
    """The letter of the pair of which least is known."""
    said = str(answer).strip().lower()
    if said not in PAIRS:
        return wrong('the answer is "a", "b", "c" or "d".')
    width = {pair: rate_of(pair).high - rate_of(pair).low for pair in PAIRS}
    if width[said] == max(width.values()):
        return right(
            "16 victims, but four trials, and those fall apart: anything from 15 to 85 % is left. "
            "And both rounds count, not the one that you like better."
        )
    if said == "d":
        return wrong(
            "in d the victims of one target differ, almost as if each were a trial of its own: of "
            "b, with as many successes, less is known."
        )
    return wrong("four targets agree there: about half of the scale is left. One pair leaves more.")


QUIZ = load_quiz("08")
