"""Chapter 00: its exercises and its quiz."""

from __future__ import annotations

from mpkit.course.exercises import Verdict, exercise, number, right, wrong
from mpkit.course.quiz import load_quiz
from mpkit.evaluation.rates import percent


@exercise(
    "00.clip",
    "2 minutes",
    hints=(
        "Add ε to the value. Then ask whether a picture can hold the result.",
        "250 + 8 is more than a picture can hold.",
    ),
    solution="min(250 + 8, 255)  # 255: poisons are clipped to what a picture can show",
)
def clip(answer: object) -> Verdict:
    """The largest value of 255 that a colour of 250 may have at ε = 8/255."""
    value = number(answer)
    if value is None:
        return wrong("a whole number is wanted.")
    if value == 255:
        return right(
            "250 + 8 would be 258, and 255 is the largest. Poisons are real 8-bit pictures."
        )
    if value == 258:
        return wrong("258 is 250 + 8, but no 8-bit picture holds more than 255.")
    if value == 8:
        return wrong("8 is how far the value may move, not where it ends.")
    return wrong(f"{value:g} is not it: start at 250, move by at most 8, and stop at 255.")


@exercise(
    "00.margin",
    "3 minutes",
    hints=(
        'Which classes are "other"? All but the one that the attacker wants.',
        "The best other score is the largest of 4.0 and 3.0.",
    ),
    solution="max(4.0, 3.0) - 2.5  # 1.5, above zero: the target is not called speed 50 yet",
)
def margin(answer: object) -> Verdict:
    """The adversarial loss of logits 4.0, 2.5 (wanted) and 3.0."""
    value = number(answer)
    if value is None:
        return wrong("a number is wanted.")
    if abs(value - 1.5) < 1e-6:
        return right("4.0 − 2.5 = 1.5. It is above zero: the target is not called “speed 50” yet.")
    if abs(value + 1.5) < 1e-6:
        return wrong(
            "the sign: the attacker makes the loss small, so the wanted score is subtracted."
        )
    if abs(value - 0.5) < 1e-6:
        return wrong("3.0 is one of the other scores, but not the best one.")
    if abs(value - 1.0) < 1e-6:
        return wrong("that compares two classes which the attacker does not want.")
    return wrong(f"{value:g} is not it: the best other score, minus the score of “speed 50”.")


@exercise(
    "00.interval",
    "5 minutes",
    hints=(
        "Suppose the true rate were 70 %: how often would one see 8 of 8? (0.7 ** 8)",
        "rate(8, 8).low is the lower one.",
    ),
    solution="from mpkit import rate\nrate(8, 8).low  # about 0.68: under 0.9",
)
def interval(answer: object) -> Verdict:
    """The lower end of the 95 % Wilson interval for 8 of 8."""
    from mpkit.evaluation.rates import Rate, rate

    if isinstance(answer, Rate):
        return wrong("that is the whole result, n and both ends: take its .low.")
    value = number(answer)
    if value is None:
        return wrong("a number between 0 and 1 is wanted.")
    low = rate(8, 8).low
    if abs(value - low) < 0.006:
        return right(
            f"8 of 8 is compatible with a true rate of {percent(low, 0)}: “9 times in 10” is not "
            "shown. More victims, and more targets, would narrow it."
        )
    if abs(value - 100 * low) < 0.6:
        return wrong("the number is right in per cent; a share between 0 and 1 is wanted.")
    if value == 1:
        return wrong("1 is the rate that was seen; the true rate may be lower.")
    return wrong(f"{value:g} is not it: rate(8, 8).low is the lower end.")


QUIZ = load_quiz("00")
