"""Which test pictures are targets, and how near each is to the class it shall get.

A picture's clean margin for an adversarial class is what L_adv measures (paper, section 3.2),

    max_{j≠adv} z_j − z_adv        (self-concealment: z_true − max_{j≠true} z_j),

the mean of eight models that were trained as victims are, on clean pictures, with seeds of their
own. Margins are computed once for a data set, a network and a recipe, and kept as safetensors;
those of the data that ship with mpkit ship too, in data/margins/.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mpkit.data import Dataset, cache_folder
from mpkit.device import make_reproducible, pick_device, plan_for
from mpkit.evaluation import predict
from mpkit.finetuning import DEFAULT_WEIGHTS, load_weights, tuned_network
from mpkit.pictures import save
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario
from mpkit.training import stream, train

MODELS = 8
VERSION = 1
"""To be raised whenever the same data would give other margins: what is kept is then ignored."""
SHIPPED = Path(__file__).resolve().parents[1] / "data" / "margins"
THIRDS = ("near", "middle", "far")

Tell = Callable[[int, int], object]
"""Told (epoch, epochs) after every epoch of the clean models; what it raises ends the training."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A test picture, number `index` of its class and `row` of the test set; its mean clean margin.

    `third` is "near", "middle" or "far", of the `of` pictures that are targets, of which it is
    number `rank` from the nearest, counted from 1. Where it is no target all three are None, and
    `why` says what is wrong with it; where the clean models diverged there is no margin either.
    """

    index: int
    row: int
    margin: float | None
    third: str | None = None
    rank: int | None = None
    of: int | None = None
    why: str = ""

    def __str__(self) -> str:
        margin = "no clean margin" if self.margin is None else f"clean margin {self.margin:+.2f}"
        if self.third is None:
            return f"{margin}, no target: {self.why}"
        return f"{margin}, {self.third} third ({self.rank} of {self.of})"


@dataclasses.dataclass(frozen=True, eq=False)
class Margins:
    """Of N test pictures and C classes: `margin` (N, C) float32, the mean of max_{j≠c} z_j − z_c;
    `votes` (N, C) int64, how many of the `MODELS` clean models give it class c; `labels` (N,)."""

    margin: Tensor
    votes: Tensor
    labels: Tensor

    def targets(self, true: int, adversarial: int) -> list[Target]:
        """All test pictures of class `true` by their margin for class `adversarial`, near first;
        those that are no targets last. For self-concealment both are the same class.

        No target: a picture that more than half of the models get wrong, or already give the
        adversarial class. With a tie, four of eight, it is one. Where one margin is as large as
        another the first picture comes first. The nearest third is the largest where three do not
        divide them.
        """
        rows = (self.labels == true).nonzero().flatten().tolist()
        margins = (-1 if adversarial == true else 1) * self.margin[rows, adversarial]
        known = [m if math.isfinite(m) else None for m in margins.tolist()]
        found = [Target(i, row, m) for i, (row, m) in enumerate(zip(rows, known, strict=True))]
        why = [self._against(t, true, adversarial) for t in found]
        good = sorted((t for t, w in zip(found, why, strict=True) if not w), key=_nearness)
        ranks = [(THIRDS[3 * i // len(good)], i + 1, len(good)) for i in range(len(good))]
        bad = [dataclasses.replace(t, why=w) for t, w in zip(found, why, strict=True) if w]
        return [
            *(Target(t.index, t.row, t.margin, *r) for t, r in zip(good, ranks, strict=True)),
            *sorted(bad, key=_nearness),
        ]

    def _against(self, target: Target, true: int, adversarial: int) -> str:
        """Why a picture is no target, "" where it is one."""
        votes = self.votes[target.row].tolist()
        if not torch.isfinite(self.margin[target.row]).all():
            return "the training of the clean models diverged"
        if adversarial != true and 2 * votes[adversarial] > MODELS:
            given = votes[adversarial]
            return f"{given} of {MODELS} clean models already give it the adversarial class"
        if 2 * (MODELS - votes[true]) > MODELS:
            return f"{MODELS - votes[true]} of {MODELS} clean models get it wrong"
        return ""


def _nearness(target: Target) -> tuple[float, int]:
    return math.inf if target.margin is None else target.margin, target.index


def default_target(targets: list[Target], name: str, wanted: str) -> Target:
    """The middle one of the near third (of two, the nearer): the rule where no target is named.

    Near, as it has the least way to go and a lesson must usually work; and neither the nearest,
    which four of eight clean models may get wrong by themselves, nor picked by hand. What it shows
    need not hold for far targets, which have the most way to go. `name` and
    `wanted` are the classes in words. Raises ValueError where no picture is a target.
    """
    near = [t for t in targets if t.third == "near"]
    if near:
        return near[(len(near) - 1) // 2]
    if any("diverged" in t.why for t in targets):
        raise ValueError("the training of the clean models diverged: use a lower --lr")
    raise ValueError(
        f"no test picture of class {name} is a target for {wanted}: one must be read rightly by "
        f"half of {MODELS} clean models, and none of the {len(targets)} is. Train them longer "
        f"(--epochs), or name one all the same: --target-index 0 … {len(targets) - 1}"
    )


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
    looks |= {"mininterval": 0.1 if sys.stderr.isatty() else 5}  # a log is no place for a bar
    with tqdm(total=clean.recipe.epochs, disable=not progress, **looks) as bar:
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


# ── of a scenario ───────────────────────────────────────────────────────────────────────────────


def whole_test_set(scenario: Scenario) -> Dataset:
    """The test set whole, N pictures: validation, and the targets in their rows."""
    rest, where = scenario.validation, torch.tensor(scenario.target_rows)
    count = len(rest) + len(where)
    kept = torch.ones(count, dtype=torch.bool)
    kept[where] = False
    x = rest.x.new_empty(count, *rest.shape)
    y = rest.y.new_empty(count)
    x[kept], y[kept] = rest.x, rest.y
    x[where], y[where] = scenario.targets.to(x), scenario.target_labels.to(y)
    return Dataset(x, y, rest.classes, rest.name)


def aimed(scenario: Scenario, index: tuple[int, ...]) -> Scenario:
    """The same scenario with other test pictures of the class as targets."""
    test, true = whole_test_set(scenario), int(scenario.target_labels[0])
    rows = test.rows_of(true)[list(index)]
    kept = torch.ones(len(test), dtype=torch.bool)
    kept[rows] = False
    return dataclasses.replace(
        scenario,
        validation=test.subset(kept),
        targets=test.x[rows],
        target_labels=test.y[rows],
        target_rows=tuple(rows.tolist()),
        adversarial=scenario.adversarial[:1].expand(len(rows)).clone(),
    )


def target_index(scenario: Scenario) -> tuple[int, ...]:
    """Which pictures of their class the targets are: what `make_scenario` was given."""
    labels = whole_test_set(scenario).y
    true = int(scenario.target_labels[0])
    return tuple(int((labels[:row] == true).sum()) for row in scenario.target_rows)


def chosen(scenario: Scenario, margins: Margins) -> list[Target]:
    """The scenario's targets, in its order, with margin and third."""
    true, wanted = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    by_row = {t.row: t for t in margins.targets(true, wanted)}
    return [by_row[row] for row in scenario.target_rows]


def misleading(target: Target) -> str:
    """One line on a target that is none, what of it misleads; "" for one that is."""
    if target.third is not None:
        return ""
    return (
        f"test picture {target.index} of its class is no target: {target.why}. What its victims "
        "say is not the poisons' doing alone; mpkit targets lists better ones"
    )
