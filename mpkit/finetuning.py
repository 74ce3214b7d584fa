"""Fine-tuning, as most people train today: begin with a network that was trained on other pictures.

Either all its layers go on learning, or only a new last layer does and the others are frozen. Then
the victim is a linear classifier on features that never change: those of clean pictures are
computed once, and the meta-gradient goes through the frozen layers once a craft step, for the
poisons alone (transfer learning in Shafahi et al. 2018; the paper's section 4.3).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.utils.weak import WeakTensorKeyDictionary

from mpkit.data import files, places
from mpkit.data.archives import DataError
from mpkit.data.tensors import unpacked
from mpkit.functional import State, own
from mpkit.networks import NETWORKS, Shape, network
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario

FINE_TUNE = ("no", "last", "all")
"""What is trained: everything from fresh weights; a new last layer; everything from given weights,
under a new last layer."""

WORDS = {"no": "from scratch", "last": "last layer", "all": "all layers"}
"""Each of them for people."""

SHIPPED = places.SHIPPED / "pretrained"
DEFAULT_WEIGHTS = "cifar10-small"
LARGEST = 1 << 28
"""Bytes of a file of weights, many times what any network here has."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """The layers of a pretrained network up to its last one: `network` as in `NETWORKS`, `tensors`
    by name, sha256 of the file in `digest`, and what is known of their making in `origin`."""

    network: str
    tensors: dict[str, Tensor]
    digest: str
    origin: dict[str, str]


def load_weights(name: str = DEFAULT_WEIGHTS) -> Weights:
    """The weights that ship under a name, or those in a .safetensors file that `pretrain` wrote.

    Raises DataError, naming what is there and the way out, for a file that is missing, damaged or
    not of this kind.
    """
    path = SHIPPED / f"{name}.safetensors"
    if "/" in name or name.endswith(".safetensors"):
        path = places.at(name)
    try:
        stamp = path.stat()
    except OSError as error:
        there = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors"))) or "none"
        raise DataError(
            f"no weights at {name!r}: there are {there}, or the path of a .safetensors file that "
            "`mpkit pretrain` wrote"
        ) from error
    return _read(path, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path, *_: int) -> Weights:
    """The file as it is now: time and size are arguments so that a new one is read anew."""
    from safetensors import SafetensorError

    try:
        blob = files.read(path, LARGEST, follow=True)
        tensors, origin = unpacked(blob)
        _check(origin.get("network"), tensors)
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(
            f"{path} holds no weights to begin with: {error}. Use {DEFAULT_WEIGHTS!r}, or a file "
            "that `mpkit pretrain` wrote"
        ) from error
    digest = hashlib.sha256(blob).hexdigest()
    return Weights(origin["network"], tensors, digest, origin)


def _check(name: str | None, tensors: dict[str, Tensor]) -> None:
    """Raises ValueError unless these are all layers but the last of the network called so."""
    if name not in NETWORKS:
        raise ValueError(f"its network is {name!r}, which is none of {', '.join(NETWORKS)}")
    expected = {k: (v.shape, v.dtype) for k, v in _body(network(name, (3, 32, 32), 2)).items()}
    found = {k: (v.shape, v.dtype) for k, v in tensors.items()}
    if wrong := sorted(k for k in expected.keys() | found if expected.get(k) != found.get(k)):
        raise ValueError(f"its tensor {wrong[0]} is not one of {name}")
    if not all(v.isfinite().all() for v in tensors.values()):
        raise ValueError("it holds numbers that are not finite")


def _body(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and statistics of all layers but the last, by name."""
    held = dict(module.named_parameters()) | dict(module.named_buffers())
    return {k: v for k, v in held.items() if k.startswith("features.")}


@dataclasses.dataclass(frozen=True, eq=False)
class Frozen:
    """The frozen layers as a function: pictures (N, C, H, W) → features (N, width, 1, 1), like
    pictures of one pixel, by running statistics, 500 pictures at a time."""

    module: nn.Module
    weights: dict[str, Tensor]
    width: int

    def __call__(self, x: Tensor) -> Tensor:
        module = _mine(self)
        held = {k: v.to(x) for k, v in self.weights.items()}
        parts = [functional_call(module, held, (some,)) for some in x.split(500)]
        return torch.cat(parts)[:, :, None, None]

    def __deepcopy__(self, memo: dict) -> Frozen:
        return self  # nothing in it is ever written to


_threads = threading.local()


def _mine(frozen: Frozen) -> nn.Module:
    """This thread's own copy of the frozen layers (see `logits`): it takes as long as a batch."""
    held = vars(_threads).setdefault("held", weakref.WeakKeyDictionary())
    if frozen not in held:
        held[frozen] = own(frozen.module)
    return held[frozen]


class LastLayer(nn.Sequential):
    """A new last layer for `classes`, the only one that trains. It takes what `frozen` makes of
    pictures (see `mpkit.finetuning.seen`): (B, width, 1, 1) → logits (B, classes)."""

    def __init__(self, frozen: Frozen, classes: int):
        head = nn.Linear(frozen.width, classes, device="meta")
        super().__init__(OrderedDict(features=nn.Flatten(), head=head))
        self.frozen = frozen


def tuned_network(
    name: str, shape: Shape, classes: int, *, fine_tune: str, weights: str, **options
) -> nn.Module:
    """The network that is trained: `network` itself from scratch, else one with `weights` in it.

    fine_tune is one of `FINE_TUNE`; `options` are `network`'s. The same arguments give the same
    module. Raises ValueError where the weights are of another network, or `fine_tune` is unknown.
    """
    if fine_tune not in FINE_TUNE:
        raise ValueError(f"fine_tune {fine_tune!r} is unknown; there are: {', '.join(FINE_TUNE)}")
    if fine_tune == "no":
        return network(name, shape, classes, **options)
    held = load_weights(weights)
    if held.network != name:
        raise ValueError(
            f"the weights {weights!r} are of the network {held.network}, not of {name}: name "
            f"network {held.network}, other weights, or fine_tune no"
        )
    return _tuned(held.digest, weights, tuple(shape), classes, fine_tune, tuple(options.items()))


@functools.lru_cache(maxsize=32)
def _tuned(digest: str, weights: str, shape: Shape, classes: int, fine_tune: str, options: tuple):
    held = load_weights(weights)
    module = own(network(held.network, shape, classes, **dict(options)))
    if fine_tune == "all":
        module.pretrained = held.tensors
        return module
    body = {k.removeprefix("features."): v for k, v in held.tensors.items()}
    frozen = own(network(held.network, shape, classes)).features.eval()
    return LastLayer(Frozen(frozen, body, module.head.in_features), classes)


def seen(module: nn.Module, x: Tensor) -> Tensor:
    """What `module` takes in of pictures x (N, C, H, W): themselves; or, where only a last layer
    trains (`LastLayer`), what the frozen layers make of them, (N, width, 1, 1).
    """
    return module.frozen(x) if hasattr(module, "frozen") else x


def features(module: nn.Module, state: State, x: Tensor) -> Tensor:
    """The penultimate layer (B, width) of pictures x at evaluation, by `module.features`."""
    return features_of_seen(module, state, seen(module, x))


def features_of_seen(module: nn.Module, state: State, x: Tensor) -> Tensor:
    """The same of what `module` has `seen` of pictures."""
    held = {k: v for part in state for k, v in part.items() if k.startswith("features.")}
    held = {k.removeprefix("features."): v for k, v in held.items()}
    return functional_call(module.features.eval(), held, (x,))


def refuse_augmentation(recipe: Recipe) -> None:
    """Raises ValueError for a recipe that no last layer can be trained by."""
    if recipe.augment or recipe.flip:
        raise ValueError(
            "augment and flip change pictures, and a last layer is trained on features that were "
            "computed once: leave them out, or fine-tune all layers (victim_fine_tune all)"
        )


def seen_once(module: nn.Module, recipe: Recipe) -> Callable[[Tensor], Tensor]:
    """`seen` by this module, computed once for each set of pictures.

    Raises ValueError as `refuse_augmentation` does, where only the last layer trains.
    """
    if not hasattr(module, "frozen"):
        return lambda x: x
    refuse_augmentation(recipe)
    known, lock = WeakTensorKeyDictionary(), threading.Lock()

    def see(x: Tensor) -> Tensor:
        with lock, torch.no_grad():
            if x not in known:
                known[x] = seen(module, x)
            return known[x]

    return see


def sight(module: nn.Module, scenario: Scenario) -> Scenario:
    """The scenario as `module` sees it: where only the last layer trains, features for pictures."""
    if not hasattr(module, "frozen"):
        return scenario
    with torch.no_grad():
        x, targets, validation = (
            seen(module, x) for x in (scenario.train.x, scenario.targets, scenario.validation.x)
        )
    replaced = dataclasses.replace
    return replaced(
        scenario,
        train=replaced(scenario.train, x=x),
        validation=replaced(scenario.validation, x=validation),
        targets=targets,
    )


def sighted(module: nn.Module, pictures: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """What `module` sees of pictures (P, C, H, W), and what takes a gradient of it back to them."""
    if not hasattr(module, "frozen"):
        return pictures, lambda slope: slope
    found, pull = vjp(module.frozen, pictures)
    return found.detach(), lambda slope: pull(slope)[0]
