"""Chapter 05: usual wrong answers, as (exercise, answer, words of the message)."""

from __future__ import annotations

WRONG = [
    ("05.age", 7, "a function of m, c, M and T"),
    ("05.age", lambda m, c, M, T: m * T // M + c, "grows for ever"),
    ("05.age", lambda m, c, M, T: c % T, "where is the stagger"),
    ("05.age", lambda m, c, M, T: m * T // M, "do not grow older"),
    ("05.age", lambda m, c, M, T: (m * T / M + c) % T, "rounded down"),
    ("05.age", lambda m, c, M, T: (m + c) % T, "T/M epochs apart"),
    ("05.age", lambda m, c, M, T: (m * (T // M) + c) % T, "multiply before you round"),
    ("05.age", lambda m, c, M, T: (round(m * T / M) + c) % T, "not to the nearest"),
    ("05.age", lambda m, c, M, T: (m * T // M + c) - T * (m * T // M + c >= T), "goes round once"),
    ("05.age", lambda m, c, M, T: (m * 30 // 8 + c) % 30, "M = 4, T = 30"),
    ("05.age", lambda m, c, M, T: "old", "a whole number"),
    ("05.age", lambda m, c, M, T: (T - m * T // M + c) % T, "for m = 1, c = 0"),
    ("05.project", 0.1, "a function of delta"),
    ("05.project", lambda d, base, e: (base + d.clamp(-e, e)).clamp(0, 1), "take base off"),
    ("05.project", lambda d, base, e: d.clamp(-e, e), "white and black are passed"),
    ("05.project", lambda d, base, e: (base + d).clamp(0, 1) - base, "ε is passed"),
    ("05.project", lambda d, base, e: e * d.sign(), "all entries became"),
    ("05.project", lambda d, base, e: d / d.abs().max() * e, "you scaled all"),
    ("05.project", lambda d, base, e: d.abs().max(), "a tensor of delta's shape"),
    ("05.project", lambda d, base, e: d, "look at one entry"),
    ("05.independent", 48, "always given the same poisons"),
    ("05.independent", 6, "how many sets"),
    ("05.independent", 1, "poisons of its own"),
    ("05.independent", 42, "what was crafted"),
    ("05.independent", "eight", "a whole number"),
]
