"""Clean margins: computed once for a data set, a network and a recipe, checked, and kept.

What a margin is: `mpkit.evaluation.targets`. The models are trained as victims are, on clean
pictures, with seeds of their own.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mpkit.data import Dataset, cache_folder, places
from mpkit.data.pictures import save
from mpkit.device import make_reproducible, pick_device, plan_for
from mpkit.evaluation.targets import MODELS, Margins
from mpkit.evaluation.victims import predict
from mpkit.finetuning import DEFAULT_WEIGHTS, load_weights, tuned_network
from mpkit.recipe import Recipe
from mpkit.streams import stream
from mpkit.training import train

VERSION = 1
"""To be raised whenever the same data would give other margins: what is kept is then ignored."""
SHIPPED = places.SHIPPED / "margins"

Tell = Callable[[int, int], object]
"""Told (epoch, epochs) after every epoch of the clean models; what it raises ends the training."""


@dataclasses.dataclass(frozen=True, eq=False)
class Clean:
    """What margins depend on, but for `device`: data, and how victims are built and trained."""

    train: Dataset
    test: Dataset
    network: str = "mlp"
    batch_norm: str = "running"
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    fine_tune: str = "no"
    weights: str = DEFAULT_WEIGHTS
    device: str = "auto"

    @functools.cached_property
    def key(self) -> str:
        """A fingerprint, 32 hex digits, of every pixel and label, the network and the recipe."""
        how = {"network": self.network, "batch_norm": self.batch_norm, "models": MODELS}
        how |= {"version": VERSION, "recipe": dataclasses.asdict(self.recipe)}
        how |= {"shapes": [list(self.train.x.shape), list(self.test.x.shape)]}
        how |= {"classes": len(self.train.classes), "fine_tune": self.fine_tune}
        how |= {"weights": None if self.fine_tune == "no" else load_weights(self.weights).digest}
        found = hashlib.sha256(json.dumps(how, sort_keys=True, allow_nan=False).encode())
        for part in (self.train.x, self.train.y, self.test.x, self.test.y):
            found.update(part.cpu().contiguous().numpy())
        return found.hexdigest()[:32]

    def module(self) -> nn.Module:
        """The network as victims have it. Raises ValueError as `tuned_network` does."""
        shape, classes = self.train.shape, len(self.train.classes)
        how = {"fine_tune": self.fine_tune, "weights": self.weights, "fused": True}
        return tuned_network(self.network, shape, classes, evaluation=self.batch_norm, **how)


def clean_seeds() -> list[int]:
    """Seeds of the clean models: streams that no victim, twin or surrogate of any run uses."""
    return [stream("margin", i) for i in range(MODELS)]


def compute_margins(clean: Clean, tell: Tell | None = None) -> Margins:
    """Train the clean models, side by side, and ask them. Raises ValueError as `Clean.module`."""
    device = pick_device(clean.device)
    make_reproducible(device)
    data, plan = clean.train.to(device), plan_for(MODELS, device)
    module, state = clean.module(), None
    run = train(module, data.x, data.y, clean.recipe, clean_seeds(), plan=plan)
    for state, record in run:  # noqa: B007
        if tell:
            tell(record.epoch, clean.recipe.epochs)
    z = predict(module, state, clean.test.x.to(device), data.x, plan=plan).cpu()
    return measure(z, clean.test.y.cpu())


def measure(logits: Tensor, labels: Tensor) -> Margins:
    """`Margins` of logits (M, N, C). A model without finite logits gives no class at all."""
    classes = logits.shape[-1]
    best = logits.topk(min(2, classes), -1)
    # Where c is the best class the best of the others is the second, elsewhere the best is.
    first = torch.nn.functional.one_hot(best.indices[..., 0], classes).bool()
    others = torch.where(first, best.values[..., 1:2], best.values[..., :1])
    sound = torch.isfinite(logits).all(-1, keepdim=True)
    return Margins((others - logits).mean(0), (first & sound).sum(0), labels)


# ── kept ────────────────────────────────────────────────────────────────────────────────────────

_kept: dict[str, Margins] = {}
_locks: dict[str, threading.Lock] = {}


def known_margins(clean: Clean, cache: str | Path | None = None) -> Margins | None:
    """The margins if they are known without training: in memory, shipped, or kept in the cache."""
    if clean.key not in _kept:
        for folder in (SHIPPED, cache_folder(cache)):
            if found := read_margins(folder, clean):
                _remember(clean.key, found)
                break
    return _kept.get(clean.key)


def clean_margins(
    clean: Clean,
    cache: str | Path | None = None,
    progress: bool = True,
    tell: Tell | None = None,
) -> Margins:
    """The margins: known, or else computed and kept (see `mpkit.data.cache_folder`).

    `progress` shows a bar where it takes more than a second. Two threads that ask for the same
    train once; a folder that cannot be written is a warning, as for pictures.
    """
    with _locks.setdefault(clean.key, threading.Lock()):
        found = known_margins(clean, cache)
        if found is None:
            found = compute_margins(clean, tell) if tell else _shown(clean, progress)
            _remember(clean.key, found)
            write_margins(cache_folder(cache), clean, found)
        return found


def _shown(clean: Clean, progress: bool) -> Margins:
    from tqdm import tqdm

    looks = {"desc": f"{MODELS} clean models", "unit": "epoch", "delay": 1}
    looks |= {"disable": not progress or sys.stderr is None}  # closed by the shell: 2>&-
    if not looks["disable"]:
        looks |= {"mininterval": 0.1 if sys.stderr.isatty() else 5}  # a log is no place for a bar
    with tqdm(total=clean.recipe.epochs, **looks) as bar:
        return compute_margins(clean, lambda *_: bar.update())


def _remember(key: str, found: Margins) -> None:
    while len(_kept) >= 32:  # a day of sweeps must not fill the memory
        _kept.pop(next(iter(_kept)), None)
    _kept[key] = found


def _path(folder: Path, clean: Clean) -> Path:
    return folder / f"margins-{clean.key}.safetensors"


def write_margins(folder: Path, clean: Clean, found: Margins) -> bool:
    """Keep them in a folder, whole or not at all; False, and a warning, where it refuses."""
    from safetensors.torch import save as packed

    tensors = {"margin": found.margin.contiguous(), "votes": found.votes.to(torch.uint8)}
    about = {"key": clean.key, "sha256": _digest(tensors)}
    content = packed(tensors, about)
    return save(_path(folder, clean), lambda file: file.write(content))


def read_margins(folder: Path, clean: Clean) -> Margins | None:
    """What `write_margins` kept; None where it is absent, damaged, or of something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(_path(folder, clean), "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in ("margin", "votes")}
    except (OSError, SafetensorError, ValueError):
        return None
    shape = (len(clean.test), len(clean.test.classes))
    kinds = {"margin": torch.float32, "votes": torch.uint8}
    fits = all(t.shape == shape and t.dtype == kinds[name] for name, t in tensors.items())
    if not fits or about.get("key") != clean.key or about.get("sha256") != _digest(tensors):
        return None
    votes = tensors["votes"].long()
    if (votes.sum(1) > MODELS).any():
        return None
    return Margins(tensors["margin"], votes, clean.test.y.cpu())


def _digest(tensors: dict[str, Tensor]) -> str:
    parts = (tensors[name].contiguous().numpy().tobytes() for name in ("margin", "votes"))
    return hashlib.sha256(b"".join(parts)).hexdigest()
