"""Every setting as a flag: declared once here, named after the fields they fill."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from mpkit.attack import RECIPE, Attack, make_attack
from mpkit.data import DEFAULT_DATA
from mpkit.finetuning import FINE_TUNE
from mpkit.metagradient import METAGRADIENTS
from mpkit.networks import NETWORKS
from mpkit.perturbation import PERTURBATIONS
from mpkit.scale import SCALES
from mpkit.scenario import GOALS
from mpkit.tracing import WAYS


def number(text: str) -> float:
    """A number, or a fraction such as 8/255."""
    top, slash, bottom = text.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 0.03 or 8/255") from None


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def several(kind: Callable[[str], object]) -> Callable[[str], tuple]:
    """A list with commas, such as 20,40; an empty text is an empty list."""

    def parse(text: str) -> tuple:
        return tuple(kind(part.strip()) for part in text.split(",") if part.strip())

    return parse


def switch(text: str) -> bool:
    """yes or no."""
    if text.lower() not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text.lower() == "yes"


def filled(text: str) -> str:
    """A text that is not empty, as an unset variable of the shell would be."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text names nothing")
    return text


Flags = dict[str, tuple[Callable | tuple[str, ...], str]]

DATA: Flags = {
    "data": (
        str,
        "digits, signs, fashion, cifar10, or a path: a folder or archive of pictures "
        f"({DEFAULT_DATA})",
    ),
    "n_train": (whole, "training images to draw, exactly (digits: 500, signs: 600)"),
    "n_test": (whole, "test images to draw, exactly"),
    "max_train": (whole, "training images at most, where --n-train isn't given (by --scale)"),
    "max_test": (whole, "test images at most, where --n-test isn't given (by --scale)"),
    "classes": (several(str), "classes to keep, with commas (all)"),
    "size": (whole, "pixels a side of the digits (32)"),
    "noise": (number, "σ of the digits' camera noise, relative to their contrast (0.5)"),
    "difficulty": (number, "how much the signs vary, from 0 to 2 (1)"),
}
SCENARIO: Flags = {
    "target_class": (str, "true class of the target"),
    "target_index": (
        several(whole),
        "which test images of it are targets, with commas (the middle one of the near third, which "
        "has the least way to go; a far one has the most: mpkit targets lists them all)",
    ),
    "poison_class": (str, "class whose images become poisons"),
    "adversarial_class": (str, "class the target shall get (the poison class)"),
    "goal": (GOALS, "what the attacker wants (targeted)"),
    "budget": (number, "share of the training set that is poisoned (0.1)"),
}
CRAFTING: Flags = {
    "epsilon": (number, "bound on δ, in pixel values of [0, 1], such as 8/255"),
    "epsilon_c": (number, "bound on the colour change (0.04)"),
    "perturbation": (tuple(PERTURBATIONS), "how pictures may change"),
    "unroll_steps": (whole, "K: training steps to look ahead"),
    "craft_steps": (whole, "C: steps of the poisons"),
    "models": (whole, "M: surrogates"),
    "craft_rate": (number, "Adam's step as a share of the bound (0.1)"),
    "craft_warmup": (whole, "craft steps of quadratic warm-up (0)"),
    "craft_decays": (several(whole), "craft steps at which the rate falls tenfold, with commas"),
    "signed": (switch, "yes: take the gradient's sign before Adam (no)"),
    "loss": (("margin", "cross-entropy"), "adversarial loss (margin)"),
    "kappa": (number, "the margin at which the loss stops rewarding (100)"),
    "metagradient": (tuple(METAGRADIENTS), "how the gradient is taken (auto)"),
    "average": (("mean", "last"), "adversarial loss over w_1 … w_K or of w_K (mean)"),
    "poisoned_steps": (("first", "all"), "unroll steps whose pixels are variables (first)"),
    "surrogate_data": (("poisoned", "clean"), "what surrogates train on (poisoned)"),
    "stagger": (switch, "no: surrogates of one age (yes)"),
    "compute": (WAYS, "how the arithmetic is run (traced)"),
    "network": (tuple(NETWORKS), "surrogates' network"),
    "fine_tune": (
        FINE_TUNE,
        "train from scratch (no), a new last layer on --weights, or all of it",
    ),
    "weights": (str, "pretrained weights: a name that ships, or a .safetensors file"),
    "batch_norm": (("running", "batch"), "statistics at evaluation (running)"),
}
TRAINING: Flags = {
    "epochs": (whole, "T: epochs of training"),
    "batch": (whole, "images a batch"),
    "lr": (number, "learning rate (0.1)"),
    "warmup": (whole, "epochs of linear warm-up (0)"),
    "decays": (several(whole), "epochs at which lr falls tenfold, with commas"),
    "weight_decay": (number, "victims only (0)"),
    "momentum": (number, "victims only (0)"),
    "augment": (switch, "yes: shift pictures at random; victims only (no)"),
    "flip": (switch, "yes: mirror half of the pictures at random; victims only (no)"),
}
VICTIM: Flags = {
    "victims": (whole, "how many fresh victims to train, and as many twins in each control"),
    "victim_network": (tuple(NETWORKS), "victims' network (the surrogates')"),
    "victim_fine_tune": (FINE_TUNE, "what victims train (as surrogates; another network: no)"),
}
RUN: Flags = {
    "seed": (whole, "decides everything that is random (0)"),
    "device": (str, "auto, cpu, cuda, mps (auto)"),
    "scale": (SCALES, "how big the defaults are (MPKIT_SCALE, or by whether there is a GPU)"),
}
ONLY_VICTIMS = ("weight_decay", "momentum", "augment", "flip")


def add_attack_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them all; one that is not given stays None."""
    for title, flags in (
        ("data", DATA),
        ("scenario", SCENARIO),
        ("crafting", CRAFTING),
        ("training of surrogates and victims", _without(TRAINING, ONLY_VICTIMS)),
        ("victims", VICTIM | {f"victim_{k}": TRAINING[k] for k in RECIPE}),
        ("run", RUN),
    ):
        group = parser.add_argument_group(title)
        for name, (kind, text) in flags.items():
            how = {"choices": kind} if isinstance(kind, tuple) else {"type": kind, "metavar": "X"}
            group.add_argument(f"--{name.replace('_', '-')}", help=text, **how)


def _without(flags: Flags, names: tuple[str, ...]) -> Flags:
    return {k: v for k, v in flags.items() if k not in names}


def given(options: argparse.Namespace) -> dict:
    """The attack flags that were given, by name."""
    known = [*DATA, *SCENARIO, *CRAFTING, *_without(TRAINING, ONLY_VICTIMS), *VICTIM, *RUN]
    known += [f"victim_{k}" for k in RECIPE]
    return {k: v for k in known if (v := getattr(options, k, None)) is not None}


def attack_from(options: argparse.Namespace) -> Attack:
    """The attack that the flags describe. Raises ValueError."""
    return make_attack(**given(options))
