"""Usual wrong answers to the exercises of chapter 00, and words of what is said to them."""

from mpkit.evaluation.rates import rate

WRONG = [
    ("00.clip", 258, "no 8-bit picture"),
    ("00.clip", 8, "how far"),
    ("00.margin", -1.5, "the sign"),
    ("00.margin", 0.5, "not the best"),
    ("00.margin", 1.0, "does not want"),
    ("00.interval", 1, "what was seen|was seen"),
    ("00.interval", rate(8, 8), "take its .low"),
    ("00.interval", 67.6, "per cent"),
]
