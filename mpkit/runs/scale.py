"""How big everything is, by one word: "ci" (seconds), "laptop" (a minute), "gpu" (the paper).

The word comes from the environment variable MPKIT_SCALE, or else from whether there is a GPU.
Values here are plain numbers; where each name is explained: `mpkit attack --help`.
"""

from __future__ import annotations

import os

SCALES = ("ci", "laptop", "gpu")

# Settings that were searched for the digits, with what was tried: docs/results.md.
DIGITS = {
    "ci": {"models": 4, "craft_steps": 10, "epochs": 15, "victims": 2, "size": 20},
    "laptop": {},
    "gpu": {"models": 16},
}

# What "ci" makes of sources that are not digits: that everything runs, in seconds.
SMALLEST = {
    "max_train": 60,
    "max_test": 30,
    "models": 1,
    "craft_steps": 2,
    "epochs": 4,
    "batch": 20,
    "victims": 1,
    "unroll_steps": 2,
}

# Colour makes signs heavier than digits: one surrogate, which is trained again and again, and looks
# far ahead. Tuned on eight pairs; docs/results.md, has twenty others.
SIGNS = {
    "ci": {
        **SMALLEST,
        "epsilon": 20 / 255,
    },
    "laptop": {"models": 1, "craft_steps": 50, "epsilon": 20 / 255, "unroll_steps": 12},
    "gpu": {"models": 8, "craft_steps": 60, "epsilon": 20 / 255, "unroll_steps": 12},
}

# The first picture instead of the rule: at "ci" these sources are too few to learn from, so that
# none would be a target, and at "gpu" eight large networks would have to be trained to find one.
FIRST = {"target_index": (0,)}

# Pictures without noise resist: more steps than for the digits, and further looks ahead.
FASHION = {
    "ci": {
        **FIRST,
        **SMALLEST,
        "max_test": 40,
    },
    "laptop": {"models": 4, "craft_steps": 40, "unroll_steps": 6},
    "gpu": {"models": 8, "craft_steps": 40, "unroll_steps": 6},
}

# A small network and one surrogate for two cores, a long look of which the end counts, and a
# learning rate that is small at the end, as 5 % of clean victims turn by themselves without
# (docs/results.md). The paper's own where there is a GPU.
PICTURES = {
    "ci": {
        **FIRST,
        "max_train": 60,
        "max_test": 40,
        "network": "convnet-bn",
        "models": 2,
        "craft_steps": 2,
        "epochs": 2,
        "batch": 20,
        "victims": 1,
        "epsilon": 8 / 255,
        "unroll_steps": 2,
    },
    "laptop": {
        "max_train": 1000,
        "max_test": 600,
        "bases": "nearest",
        "models": 1,
        "craft_steps": 28,
        "craft_rate": 0.2,
        "average": "last",
        "epochs": 20,
        "batch": 50,
        "lr": 0.05,
        "decays": (17,),
        "victims": 4,
        "epsilon": 8 / 255,
        "unroll_steps": 15,
    },
    "gpu": {
        **FIRST,
        "network": "resnet20",
        "models": 24,
        "craft_steps": 60,
        "epochs": 24,
        "batch": 125,
        "warmup": 5,
        "victims": 8,
        "epsilon": 8 / 255,
        "unroll_steps": 2,
        "craft_rate": 25.0,
        "craft_warmup": 5,
        "craft_decays": (20, 40),
        "surrogate_data": "clean",
        "perturbation": "both",
        "victim_epochs": 200,
        "victim_decays": (100, 150),
    },
}


# A new last layer on frozen features, as most people train: seconds, and an ε that nobody sees.
# κ = 2: going on beyond that margin turns no more victims, and costs two more points of accuracy.
FINE_TUNING = {
    "ci": {
        **SMALLEST,
        "epsilon": 8 / 255,
    },
    "laptop": {"models": 4, "craft_steps": 40, "epsilon": 8 / 255, "unroll_steps": 5, "kappa": 2.0},
    "gpu": {"models": 8, "craft_steps": 40, "epsilon": 8 / 255, "unroll_steps": 5, "kappa": 2.0},
}
TUNED = "convnet-small"  # the network that ships with weights
FINE_TUNED = {"signs": SCALES, "fashion": (), "digits": ()}
"""At which scales a source is fine-tuned where nothing else is said; others on laptops."""


# Sources that are called by name; all others are PICTURES.
NAMED = {"digits": DIGITS, "signs": SIGNS, "fashion": FASHION}

# The rivals' own, over those of a source. Gradient matching as in Witches' Brew where there is a
# GPU: eight restarts of 250 steps, with these decays; elsewhere two of about half as many.
COLLIDING = {"models": 4, "craft_steps": 100, "craft_rate": 0.1, "craft_warmup": 0}
COLLIDING["craft_decays"] = ()
MATCHING = COLLIDING | {"signed": True, "restarts": 2, "craft_steps": 240}
MATCHING["craft_decays"] = (45, 75, 105)
BREW = MATCHING | {"restarts": 8, "craft_steps": 2000, "craft_decays": (94, 156, 219)}
AT_ONCE = {"models": 1, "craft_steps": 1}
OF_METHODS = {
    "gradient-matching": MATCHING,
    "feature-collision": COLLIDING,
    "convex-polytope": COLLIDING,
    "bullseye": COLLIDING,
    "watermark": AT_ONCE,
    "label-flip": AT_ONCE,
    "noise": AT_ONCE,
}
BY_METHOD = tuple(dict.fromkeys(name for usual in OF_METHODS.values() for name in usual))


def in_time(usual: dict, given: dict) -> dict:
    """The same, with learning rates that fall at the same part of as many epochs as are given."""
    found, victims = dict(usual), "victim_" * ("victim_decays" in usual)
    for who, whose in (("", ""), ("victim_", victims)):
        decays, epochs = usual.get(f"{whose}decays"), usual.get(f"{whose}epochs")
        asked = given.get(f"{who}epochs")
        if decays and epochs and type(asked) is int and f"{whose}decays" not in given:
            falls = (max(1, round(asked / epochs * d)) for d in decays)
            found[f"{who}decays"] = tuple(dict.fromkeys(falls))
    return found


def of_method(method: str | None, name: str) -> dict:
    """What differs for a method at a scale; at the smallest the sizes stay what they are."""
    usual = OF_METHODS.get(method, {})
    usual = BREW if usual is MATCHING and name == "gpu" else usual
    sizes = SMALLEST.keys() | {"restarts"} if name == "ci" and usual is not AT_ONCE else ()
    return {k: v for k, v in usual.items() if k not in sizes}


def by_scale() -> frozenset[str]:
    """The names of all settings whose default a source, a scale or a method changes."""
    sources = (*NAMED.values(), PICTURES, FINE_TUNING)
    names = {name for source in sources for values in source.values() for name in values}
    return frozenset(names | {"network", "fine_tune", "bases", *BY_METHOD}) - {"target_index"}


def scale_name(name: str | None = None, gpu: bool = False) -> str:
    """`name`, or else MPKIT_SCALE, or else "gpu" where there is one and "laptop" where not.

    Raises ValueError naming the scales.
    """
    name = name or os.environ.get("MPKIT_SCALE") or ("gpu" if gpu else "laptop")
    if name not in SCALES:
        raise ValueError(f"scale {name!r} is unknown; MPKIT_SCALE may be {', '.join(SCALES)}")
    return name


def usual_tuning(data: str, name: str, network: str | None = None) -> str:
    """Whether a source is fine-tuned at a scale, "last" or "no", where that is not said: a network
    that was named, and does not ship with weights, is trained from scratch."""
    tuned = name in FINE_TUNED.get(data, ("ci", "laptop")) and network in (None, TUNED)
    return "last" if tuned else "no"


def defaults(data: str, name: str, fine_tune: str = "no") -> dict:
    """What differs from the library's own defaults for a data source at a scale."""
    if fine_tune == "no":
        return dict(NAMED.get(data, PICTURES)[name])
    usual = {"network": TUNED, "fine_tune": fine_tune} | FINE_TUNING[name]
    if data in NAMED:
        return usual
    # Ten poisons of a thousand turn far targets of photographs where they are the nearest ones.
    size = {} if name == "ci" else {"max_train": 1000, "max_test": 600}
    return usual | {"bases": "nearest"} | size
