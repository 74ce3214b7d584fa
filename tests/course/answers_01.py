"""Chapter 01's usual wrong answers: (exercise, answer, words of the verdict)."""

from __future__ import annotations

STORIES = {"A": "label flipping", "B": "clean-label", "C": "evasion", "D": "none"}


def far(phi, bases, target):
    return (phi(bases) - phi(target)).norm(dim=1)


def near(phi, poisons, target):
    return (phi(poisons) - phi(target)).norm(dim=1)


def absolute(phi, x, t):
    return (phi(x) - phi(t)).abs().sum(1)


def largest(phi, x, t):
    return (phi(x) - phi(t)).abs().amax(1)


WRONG = [
    ("01.threat", ["label flipping", "clean-label", "evasion", "none"], "a dictionary"),
    ("01.threat", {"A": "label flipping", "B": "clean-label"}, "C, D: not answered"),
    ("01.threat", STORIES | {"C": "sticker"}, "is not among"),
    ("01.threat", STORIES | {"A": "clean-label"}, "an honest person"),
    ("01.threat", STORIES | {"B": "label flipping"}, "No label is wrong"),
    ("01.threat", STORIES | {"B": "none"}, "does not make it harmless"),
    ("01.threat", STORIES | {"C": "clean-label"}, "finished by then"),
    ("01.threat", STORIES | {"D": "label flipping"}, "has no target"),
    ("01.threat", STORIES | {"A": "none"}, "A: ask when"),
    ("01.proximal", lambda x, base, w: (x + w * base) / (1 + w), "clamp"),
    ("01.proximal", lambda x, base, w: (x + w * (base - x)).clamp(0, 1), "along"),
    ("01.proximal", lambda x, base, w: ((base + w * x) / (1 + w)).clamp(0, 1), "places"),
    ("01.proximal", lambda x, base, w: ((x + base) / 2).clamp(0, 1), "halfway"),
    ("01.proximal", lambda x, base, w: (x + w * base).clamp(0, 1), "divide by 1 + w"),
    (
        "01.proximal",
        lambda x, base, w: ((x + w * base) / (1 + w)).clamp(-1, 1),
        "gives -0.2, not 0",
    ),
    ("01.proximal", lambda x, base, w: 0.5, "a picture is wanted"),
    ("01.proximal", lambda x, base, w: base, "gives 0.8, not 1"),
    ("01.proximal", lambda x, base: base, "raised TypeError"),
    ("01.chance", 11, "more than half"),
    ("01.chance", 10, "on average"),
    ("01.chance", 14, "48 %"),
    ("01.chance", 20, "fewer will do"),
    ("01.chance", 0.75, "the share"),
    ("01.chance", 75, "per cent"),
    ("01.ratio", lambda phi, p, b, t: far(phi, b, t) / near(phi, p, t), "upside down"),
    ("01.ratio", lambda phi, p, b, t: (near(phi, p, t) / far(phi, b, t)) ** 2, "squares"),
    ("01.ratio", lambda phi, p, b, t: near(lambda x: x.flatten(1), p, t), "has to be 1"),
    (
        "01.ratio",
        lambda phi, p, b, t: near(lambda x: x.flatten(1), p, t) / far(lambda x: x.flatten(1), b, t),
        "those are pixels",
    ),
    ("01.ratio", lambda phi, p, b, t: far(phi, p, b) / far(phi, b, t), "from its base"),
    ("01.ratio", lambda phi, p, b, t: near(phi, p, t), "not divided"),
    ("01.ratio", lambda phi, p, b, t: (phi(p) - phi(t)).norm() / (phi(b) - phi(t)).norm(), "one n"),
    ("01.ratio", lambda phi, p, b, t: (phi(p) - phi(t)) / (phi(b) - phi(t)), "not three numbers"),
    ("01.ratio", lambda phi, p, b, t: (near(phi, p, t) / far(phi, b, t)).mean(), "no mean"),
    ("01.ratio", lambda phi, p, b, t: absolute(phi, p, t) / absolute(phi, b, t), "absolute values"),
    ("01.ratio", lambda phi, p, b, t: largest(phi, p, t) / largest(phi, b, t), "has to be 1|look"),
    ("01.ratio", lambda phi, p, b, t: [0.5] * 3, "a tensor is wanted"),
    (
        "01.proximal",
        lambda x, base, w: (x.clamp(0, 1) + w * base) / (1 + w),
        "clamp the result",
    ),
]
