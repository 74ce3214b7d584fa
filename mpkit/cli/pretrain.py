"""``mpkit pretrain``: make weights to begin fine-tuning with, as those that ship were made."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from mpkit.cli.options import filled, whole
from mpkit.cli.output import Progress, say, show
from mpkit.data import load_dataset
from mpkit.device import make_reproducible, pick_device
from mpkit.evaluation.rates import percent
from mpkit.runs.pretraining import (
    RECIPE,
    accuracy,
    last_pictures,
    pretrain,
    pretrained_network,
    save_weights,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What to train on, how long, and where the weights go."""
    parser.add_argument("--data", type=filled, default="cifar10", help="as for mpkit attack")
    parser.add_argument("--title", help="the data's name in the file (by --data)")
    parser.add_argument("--pictures", type=whole, default=10_000, help="to train on (10000)")
    epochs = RECIPE.epochs
    parser.add_argument("--epochs", type=whole, default=epochs, help=f"of training ({epochs})")
    parser.add_argument("--seed", type=whole, default=0, help="of weights and shuffles (0)")
    parser.add_argument("--out", type=filled, required=True, help="a .safetensors file to write")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done. Raises ValueError for what is refused."""
    out = Path(options.out)
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {options.out!r} must end in .safetensors")
    if out.exists():
        raise ValueError(f"{out} is there already: name another file")
    device = pick_device("auto")
    make_reproducible(device)
    whole_set, test = load_dataset(options.data)
    pictures, test = last_pictures(whole_set, options.pictures).to(device), test.to(device)
    module = pretrained_network("convnet-small", pictures)
    recipe = dataclasses.replace(RECIPE, epochs=options.epochs)
    with Progress("training", "epoch", recipe.epochs) as progress:
        for state, record in pretrain(module, pictures, recipe, options.seed):  # noqa: B007
            progress.reach(record.epoch, f"loss {record.losses[0]:.3f}")
    right = accuracy(module, state, test)
    origin = {
        "data": options.title or whole_set.name,
        "pictures": f"the last {len(pictures)} of the draw with seed 0, as many of each class",
        "classes": ", ".join(pictures.classes),
        "recipe": str(recipe),
        "seed": str(options.seed),
        "accuracy": f"{right:.4f} on {len(test)} test pictures",
    }
    save_weights(out, state.map(lambda t: t.cpu()), "convnet-small", origin)
    say("\n".join(f"{k}: {v}" for k, v in origin.items()))
    show(f"{out}: accuracy {percent(right)}")
    return 0
