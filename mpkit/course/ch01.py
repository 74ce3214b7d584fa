"""Chapter 01: its exercises and its quiz."""

from __future__ import annotations

import torch
from torch import Tensor

from mpkit.course.exercises import Verdict, exercise, number, right, wrong
from mpkit.course.quiz import load_quiz

KINDS = ("label flipping", "clean-label", "evasion", "none")
"""What can be said of each story of exercise 01.threat."""

STORIES = {"A": "label flipping", "B": "clean-label", "C": "evasion", "D": "none"}


@exercise(
    "01.threat",
    "4 minutes",
    hints=(
        "Three questions: does somebody aim at one result? When is the change made? Is every label "
        "right?",
        "One story has no attacker. Of the others one has wrong labels, one changes pictures under "
        "right labels, and one happens after training.",
    ),
    solution='{"A": "label flipping", "B": "clean-label", "C": "evasion", "D": "none"}',
)
def threat(answer: object) -> Verdict:
    """A dictionary from the stories A to D to the kind of attack each is."""
    if not isinstance(answer, dict) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in answer.items()
    ):
        return wrong(f"a dictionary is wanted, from each story to one of: {', '.join(KINDS)}.")
    said = {k.strip().upper(): v.strip().lower() for k, v in answer.items()}
    if missing := [k for k in STORIES if k not in said]:
        return wrong(f"{', '.join(missing)}: not answered yet.")
    if strange := [v for v in said.values() if v not in KINDS]:
        return wrong(f"“{strange[0]}” is not among: {', '.join(KINDS)}.")
    if all(said[k] == kind for k, kind in STORIES.items()):
        return right(
            "is it aimed, when is it made, is the label right: three questions, four kinds."
        )
    for story, kind, words in (
        ("A", "clean-label", "A: would an honest person write “speed 50” under these pictures?"),
        ("B", "label flipping", "B: the pictures really are planes. No label is wrong there."),
        ("B", "none", "B: that nobody would notice does not make it harmless."),
        ("C", "clean-label", "C: the model is finished by then. No training picture is touched."),
        ("D", "label flipping", "D: an honest mistake has no target. Nobody chose it."),
    ):
        if said[story] == kind:
            return wrong(words)
    first = next(k for k, kind in STORIES.items() if said[k] != kind)
    return wrong(f"{first}: ask when the change is made, and whether the labels are right.")


@exercise(
    "01.proximal",
    "7 minutes",
    hints=(
        "Where is the derivative in z zero? (z − x) + w·(z − b) = 0.",
        "Solve it for z: z·(1 + w) = x + w·b. Then clamp to 0 … 1.",
    ),
    solution=("def proximal(x, base, w):\n    return ((x + w * base) / (1 + w)).clamp(0, 1)"),
)
def proximal(answer: object) -> Verdict:
    """A function of x, base and w: the picture z that minimises ½‖z−x‖² + ½w‖z−b‖²."""
    if not callable(answer):
        return wrong("a function of x, base and w is wanted.")
    x = torch.tensor([0.9, 0.2, 2.4, -0.8, 0.4])
    base = torch.tensor([0.5, 0.6, 0.8, 0.1, 0.4])
    found = []
    for w in (0.5, 2.0):
        said = answer(x.clone(), base.clone(), w)
        if said is None:
            return Verdict(None, "it still returns None. Set the derivative in z to zero.")
        if not isinstance(said, Tensor) or said.shape != x.shape:
            return wrong("a picture is wanted, as a tensor of the shape of x.")
        found.append(said.float())
    usual = (
        ("", lambda w: ((x + w * base) / (1 + w)).clamp(0, 1)),
        ("right, but for the clamp: some results are no grey values.",
         lambda w: (x + w * base) / (1 + w)),
        ("clamp the result, and not x before the mean.",
         lambda w: (x.clamp(0, 1) + w * base) / (1 + w)),
        ("that is a step *along* the gradient: with w = 2 it goes beyond the base.",
         lambda w: (x + w * (base - x)).clamp(0, 1)),
        ("x and base have changed places: the larger w, the nearer to the base.",
         lambda w: ((base + w * x) / (1 + w)).clamp(0, 1)),
        ("halfway, whatever w is?", lambda w: ((x + base) / 2).clamp(0, 1)),
        ("divide by 1 + w: for x = base = 0.4 the answer must be 0.4.",
         lambda w: (x + w * base).clamp(0, 1)),
    )  # fmt: skip
    for words, rule in usual:
        pairs = zip(found, (0.5, 2.0), strict=True)
        if all(torch.allclose(f, rule(w), atol=1e-5) for f, w in pairs):
            return wrong(words) if words else right("a weighted mean: it cannot overshoot.")
    wanted = usual[0][1](2.0)
    off = int((found[1] - wanted).abs().argmax())
    return wrong(
        f"for x = {float(x[off]):.4g}, b = {float(base[off]):.4g}, w = 2 it gives "
        f"{float(found[1][off]):.4g}, not {float(wanted[off]):.4g}."
    )


@exercise(
    "01.ratio",
    "6 minutes",
    hints=(
        "Two lengths of differences of features, one divided by the other: .norm(dim=1).",
        "far = (phi(bases) - phi(target)).norm(dim=1) is the denominator.",
    ),
    solution=(
        "def ratio(phi, poisons, bases, target):\n"
        "    near = (phi(poisons) - phi(target)).norm(dim=1)\n"
        "    return near / (phi(bases) - phi(target)).norm(dim=1)"
    ),
)
def ratio(answer: object) -> Verdict:
    """A function of phi, poisons, bases and target: what share of the distance is left."""
    if not callable(answer):
        return wrong("a function of phi, poisons, bases and target is wanted.")
    g = torch.Generator().manual_seed(0)
    bases, change = torch.rand(2, 3, 1, 4, 4, generator=g)
    target, mix = torch.rand(1, 1, 4, 4, generator=g), torch.randn(16, 5, generator=g)
    poisons = bases + 0.4 * (change - bases)

    def phi(x: Tensor) -> Tensor:
        return x.flatten(1) @ mix

    said = answer(phi, poisons, bases, target)
    if said is None:
        return Verdict(None, "it still returns None. Two distances, one divided by the other.")
    if not isinstance(said, Tensor):
        return wrong("a tensor is wanted, with one number for each poison.")
    t, b, p = phi(target), phi(bases), phi(poisons)
    near, far, moved = ((u - v).norm(dim=1) for u, v in ((p, t), (b, t), (p, b)))
    pixels = (poisons - target).flatten(1).norm(dim=1) / (bases - target).flatten(1).norm(dim=1)
    usual = (
        ("", near / far),
        ("upside down: at the base it has to be 1, and at the target 0.", far / near),
        ("squares: a length is the root of them.", (near / far).square()),
        ("those are pixels. What counts is what the network sees: phi of them.", pixels),
        ("how far it has come from its base; how far is it still from the target?", moved / far),
        ("not divided by the base's distance yet.", near),
        ("one number for each poison, please: .norm(dim=1).", (p - t).norm() / (b - t).norm()),
        ("one number for each poison, please: no mean.", (near / far).mean()),
        ("sums of absolute values; the Euclidean length is the root of the squares' sum.",
         (p - t).abs().sum(1) / (b - t).abs().sum(1)),
    )  # fmt: skip
    for words, wanted in usual:
        if said.shape == wanted.shape and torch.allclose(said.float(), wanted, atol=1e-5):
            return wrong(words) if words else right("1 is where the base was, 0 on the target.")
    if said.shape != near.shape:
        return wrong(f"for three poisons it gives {tuple(said.shape)}, not three numbers.")
    return wrong("look at a poison that equals its base: the answer has to be 1.")


@exercise(
    "01.chance",
    "5 minutes",
    hints=(
        "rate(k, 20).low is the lower end: look at it for each k from 10 to 20.",
        "rate(14, 20).low is 0.48: guessing still explains it.",
    ),
    solution=("from mpkit import rate\nnext(k for k in range(21) if rate(k, 20).low > 0.5)  # 15"),
)
def chance(answer: object) -> Verdict:
    """The fewest right answers of 20 whose 95 % interval lies above 1/2."""
    value = number(answer)
    if value is None:
        return wrong("a whole number is wanted.")
    if value == 15:
        return right("15 of 20 is 75 %, and its interval begins at 53 %; with 14 it does at 48 %.")
    usual = {
        10: "10 is what guessing gives on average.",
        11: "11 is more than half, but two of five people who guess get that many.",
        14: "14 of 20 is close: its interval begins at 48 %, still below one half.",
        20: "fewer will do: the interval has to lie above 1/2, not near 1.",
        0.75: "that is the share; how many of the 20 rounds is it?",
        75: "that is the share in per cent; how many of the 20 rounds is it?",
    }
    if value in usual:
        return wrong(usual[value])
    return wrong(f"{value:g} is not it: the first k at which rate(k, 20).low passes 0.5.")


QUIZ = load_quiz("01")
