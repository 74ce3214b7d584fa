"""Chapter 08: usual wrong answers, as (exercise, answer, words of the message)."""

from __future__ import annotations


def _red(**attack):
    return {"team": "Owls", "side": "red", "attack": attack}


WRONG = [
    ("08.submission", "craft_steps = 60", "a dictionary is wanted"),
    ("08.submission", _red(epsilon=8), "eight levels of 255 are 8/255"),
    ("08.submission", _red(epsilon="9/255"), "over the limit of 0.03137"),
    ("08.submission", _red(budget=10), "10 % are 0.1"),
    ("08.submission", _red(budget=0.2), "budget 0.2 is over the limit of 0.1"),
    ("08.submission", _red(target_class="stop"), "not a name of the rules"),
    ("08.submission", {"team": "Owls", "attack": {}}, "side must be red or blue"),
    ("08.submission", {"side": "red", "attack": {}}, "team must be a name"),
    ("08.submission", {"epsilon": "8/255"}, "not a name of the rules"),
    ("08.submission", {"team": "A", "side": "red", "code": "x"}, "not a name of the rules"),
    (
        "08.submission",
        {"team": "A", "side": "blue", "defense": {"defense": "jpeg"}},
        "that one defends",
    ),
    ("08.points", 3, "a function of turned"),
    ("08.points", lambda *c: "many", "one number"),
    ("08.points", lambda k, n, *_: 100 * k / n, "those are red's"),
    ("08.points", lambda k, n, *_: 100 * (1 - k / n), "and the price"),
    (
        "08.points",
        lambda k, n, a, b, free: 100 * max(0, 1 - k / n - max(0, a - b)),
        "where is the allowance",
    ),
    (
        "08.points",
        lambda k, n, a, b, free: 100 * max(0, 1 - k / n - (a - b - free)),
        "that is no cost",
    ),
    (
        "08.points",
        lambda k, n, a, b, free: 100 * (1 - k / n - max(0, a - b - free)),
        "0 is the least",
    ),
    (
        "08.points",
        lambda k, n, a, b, free: max(0, 1 - k / n - max(0, a - b - free)),
        "as a share",
    ),
    ("08.points", lambda *c: 50.0, "62.5, and not 50"),
    ("08.rerun", "a", "four targets agree"),
    ("08.rerun", "c", "four targets agree"),
    ("08.rerun", "D", "less is known"),
    ("08.rerun", "e", '"a", "b", "c" or "d"'),
]
