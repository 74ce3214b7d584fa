"""Make weights to begin fine-tuning with: ``mpkit pretrain``, and how those that ship were made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from mpkit.data import Dataset, files
from mpkit.device import Plan
from mpkit.evaluation.victims import predict
from mpkit.finetuning import features
from mpkit.functional import State, own
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.training import EpochRecord, train

RECIPE = Recipe(epochs=12, batch=100, lr=0.05, momentum=0.9, decays=(9,), flip=True)


def last_pictures(train_set: Dataset, count: int) -> Dataset:
    """The last pictures of each class in the draw, `count` in all: attacks, which take the first,
    do not train on them. Raises ValueError for more than there are, or fewer than one a class."""
    classes = len(train_set.classes)
    rows = [train_set.rows_of(c) for c in range(classes)]
    each, most = count // classes, min(map(len, rows))
    if not 1 <= each <= most:
        raise ValueError(f"pictures must be from {classes} to {most * classes}, not {count}")
    return train_set.subset(torch.cat([r[-each:] for r in rows]))


def pretrain(
    module: nn.Module, pictures: Dataset, recipe: Recipe = RECIPE, seed: int = 0
) -> Iterator[tuple[State, EpochRecord]]:
    """Train one model from fresh weights; yields it (without a leading M) after every epoch, with
    standardised features after the last (see `mpkit.networks.Standardize`). Raises ValueError where
    it diverges."""
    plan = Plan()
    for state, record in train(module, pictures.x, pictures.y, recipe, [seed], plan=plan):
        one = state.pick(0)
        if not one.finite:
            raise ValueError(f"the training diverged in epoch {record.epoch}: nothing is written")
        if record.epoch == recipe.epochs:
            one = standardised(module, one, pictures.x)
        yield one, record


@torch.no_grad()
def standardised(module: nn.Module, state: State, x: Tensor) -> State:
    """The same model with features of mean 0 and deviation 1 over pictures x (N, C, H, W); its last
    layer is made to fit, so that it says what it said."""
    asked = own(module)
    found = torch.cat([features(asked, state, some) for some in x.split(500)])
    mean, std = found.mean(0), found.std(0).clamp(min=1e-3)
    weight, bias = state.params["head.weight"], state.params["head.bias"]
    head = {"head.weight": weight * std, "head.bias": bias + weight @ mean}
    scale = {"features.standardize.mean": mean, "features.standardize.std": std}
    return State(state.params | head, state.stats | scale)


def accuracy(module: nn.Module, state: State, test: Dataset) -> float:
    """Of one model on a test set."""
    found = predict(module, state.map(lambda t: t[None]), test.x)[0].argmax(-1)
    return float((found == test.y).float().mean())


def save_weights(path: Path, state: State, name: str, origin: dict[str, str]) -> None:
    """Write all layers but the last, for `mpkit.finetuning.load_weights`; `origin` says where they
    come from."""
    from safetensors.torch import save

    held = {k: v.contiguous() for part in state for k, v in part.items()}
    body = {k: v for k, v in held.items() if k.startswith("features.")}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, save(body, {"network": name} | origin))


def pretrained_network(name: str, pictures: Dataset) -> nn.Module:
    """The network to pretrain. Raises ValueError for one whose features are not standardised."""
    module = network(name, pictures.shape, len(pictures.classes), fused=True)
    if not hasattr(module.features, "standardize"):
        raise ValueError(f"network {name!r} cannot be pretrained here; convnet-small can")
    return module
