"""The one way to begin a run folder, and the one way to open it again."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from mpkit.data import files
from mpkit.data.archives import DataError
from mpkit.data.datasets import NAMED
from mpkit.data.places import exists, quoted
from mpkit.data.schema import sealed, strict, told, value
from mpkit.device import Plan, cores, describe, pick_device
from mpkit.evaluation.records import VictimRecord, victim_of
from mpkit.evaluation.targets import Target
from mpkit.metapoison import CraftState
from mpkit.perturbation import PERTURBATIONS
from mpkit.runs import origin, record
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import Prepared, prepare
from mpkit.runs.record import RecordError
from mpkit.runs.saved import from_dict, to_dict

FORMAT = 2
"""Of run folders. In those of format 1, settings and records have no checksums."""
LEFT = ("settings.json", "state.safetensors", "poisons.safetensors", "summary.json")
"""What a run leaves in its folder."""


def begin(
    ready: Prepared,
    targets: Sequence[Target] = (),
    *,
    out: str | Path | None = None,
    parent: Path = Path("runs"),
) -> Path:
    """Make a run's folder, with its settings: `out`, or a new one in `parent`.

    settings.json holds all that is needed to run again; `targets`, where their margins are known:
    a resumed run takes them from there. Raises OSError where nothing can be written.
    """
    folder = Path(out) if out else record.new_folder(parent / name_of(ready.attack))
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "format": FORMAT,
        "attack": to_dict(ready.attack),
        "targets": [dataclasses.asdict(target) for target in targets],
        "plan": dataclasses.asdict(ready.plan),
        "victim_plan": dataclasses.asdict(ready.victim_plan),
        "device": describe(pick_device(ready.attack.device)),
        "data": origin.digest(ready.scenario),
        "weights": ready.attack.digest_of_weights(),
        "versions": origin.versions(),
    } | ({"place": os.getcwd()} if _paths_of(ready.attack) else {})
    record.write_json(folder / "settings.json", sealed(strict(settings)))
    return folder


def _paths_of(attack: Attack) -> list[str]:
    """Of an attack, what names a file or folder that may be elsewhere one day."""
    paths = [] if attack.data in NAMED else ["data"]
    return paths + ["weights"] * (attack.tuned and Path(attack.weights).suffix != "")


def name_of(attack: Attack) -> str:
    """A new folder's name that says when and what: 20260102-030405-digits-3-as-8-seed0."""
    stamp, what = time.strftime("%Y%m%d-%H%M%S"), attack.goal
    adversarial = attack.adversarial_class or attack.poison_class
    if attack.target_class and adversarial:
        what = f"{attack.target_class[:40]}-as-{adversarial[:40]}"
    name = f"{stamp}-{Path(attack.data).stem[:40]}-{what}-seed{attack.settings.seed}"
    return re.sub(r"[^\w.-]+", "_", name)


NEEDED = {"plan": Plan, "victim_plan": Plan, "data": str, "versions": dict[str, str]}
LATER = {
    "targets": (tuple[Target, ...], ()),
    "weights": (str | None, None),
    "title": (str | None, None),
    "device": (str | None, None),
    "place": (str | None, None),
}
"""What settings.json holds beside the attack; and what that of an earlier mpkit may lack."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if it is not there: no other process may write to it
    meanwhile. Raises RecordError where another does, and OSError where nothing can be written."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(folder / ".lock", str(folder)))
        except files.Busy as error:
            raise RecordError(str(error)) from error
        yield


def refuse_used(folder: Path) -> None:
    """Raises ValueError for a folder in which a run was begun: what is left of another must not be
    taken for the beginning of this one."""
    if any((folder / name).exists() for name in LEFT):
        raise ValueError(
            f"{folder} holds a run already: name another folder, "
            f"or go on with --resume {quoted(folder)}"
        )


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """What settings.json says of a run. Targets and their margins are those it began with; of runs
    by an earlier mpkit the latter are not known, and `title` and `device` may be None. `place` is
    the folder that paths of data and weights lead from, None where there are none."""

    folder: Path
    attack: Attack
    targets: tuple[Target, ...]
    plans: tuple[Plan, Plan]
    data: str
    weights: str | None
    title: str | None
    device: str | None
    place: str | None

    def prepare(
        self, progress: bool = True, device: str | None = None, data: str | None = None
    ) -> Prepared:
        """The attack ready to go on, `data` being where they are now. Raises RecordError where data
        or weights are other ones, or not where they were."""
        moved = {name: self._found(name) for name in _paths_of(self.attack)}
        moved |= {k: v for k, v in (("device", device), ("data", data)) if v}
        attack = dataclasses.replace(self.attack, **moved)
        if attack.data not in NAMED and not exists(attack.data):
            raise RecordError(
                f"the pictures of the run in {self.folder} are not at {attack.data!r}: say where "
                "they are now with --data"
            )
        here = cores()  # the run may have begun on a larger machine
        plans = [dataclasses.replace(p, workers=min(p.workers, here)) for p in self.plans]
        try:
            ready = prepare(attack, progress, *plans)
        except ValueError as error:  # classes or pictures that are not there
            if not data and not isinstance(error, DataError):
                raise
            raise RecordError(
                f"the data at {attack.data!r} are not those of the run in {self.folder}: {error}. "
                "Bring those back, or name them with --data"
            ) from error
        if self.weights not in (None, attack.digest_of_weights()):
            raise RecordError(
                f"the weights {attack.weights!r} are not those that the run in {self.folder} began "
                "with: bring those back, or start a new run"
            )
        if origin.digest(ready.scenario) != self.data:
            raise RecordError(
                f"the data are not those of the run in {self.folder}: bring those back, name them "
                "with --data, or start a new run"
            )
        return ready

    def _found(self, name: str) -> str:
        """The path of data or weights from where the run began, or else as it is."""
        path = getattr(self.attack, name)
        there = Path(self.place or "", path)
        return str(there) if there.exists() else path

    def victims(self) -> list[VictimRecord]:
        """Its victims and twins; none if it was not judged. Raises RecordError."""
        path = self.folder / "victims.jsonl"
        seen = set()

        def next_one(row: dict) -> VictimRecord:
            found = victim_of(row)
            if (found.arm, found.victim) in seen:
                raise ValueError(f"victim {found.victim} ({found.arm}) stands there twice")
            seen.add((found.arm, found.victim))
            return found

        return record.each_line(path, next_one, record.must_be_sealed(self.folder))


def open_run(folder: Path) -> SavedRun:
    """The run in a folder. Raises RecordError for what is none, damaged, or of a newer mpkit."""
    saved = record.read_json(folder / "settings.json")
    try:
        if type(number := saved["format"]) is not int or number < 1:
            raise ValueError(f"format can't be {told(number)}")
        if number > FORMAT:
            raise RecordError(f"{folder} was written by a newer mpkit: update mpkit")
        parts = {name: value(hint, saved[name], name) for name, hint in NEEDED.items()}
        parts |= {k: value(hint, saved.get(k, usual), k) for k, (hint, usual) in LATER.items()}
        if more := sorted(saved.keys() - parts.keys() - {"format", "attack"}):
            raise ValueError(f"{told(more[0])} is unknown there")
        for name in ("plan", "victim_plan"):
            if lacking := {"chunk", "workers"} - saved[name].keys():
                raise ValueError(f"{name} lacks {min(lacking)!r}")
        for name, digits in (("data", 16), ("weights", 64)):
            if not re.fullmatch(
                f"[0-9a-f]{{{digits}}}", "0" * digits if parts[name] is None else parts[name]
            ):
                raise ValueError(f"{name} can't be {told(parts[name])}")
        attack = from_dict(saved["attack"])
        if (parts["weights"] is None) == attack.tuned:
            raise ValueError("weights must be there for what is fine-tuned, and for nothing else")
        plans = parts["plan"], parts["victim_plan"]
        known = (parts[name] for name in ("data", "weights", "title", "device", "place"))
        return SavedRun(folder, attack, parts["targets"], plans, *known)
    except RecordError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{folder / 'settings.json'} is damaged: {error!r}") from error


def refuse_old_matching(folder: Path) -> None:
    """Raises RecordError for what is no run, before a lock is put there; and for an unfinished one
    of the gradient matching that there was before it was a method: it cannot go on as it began."""
    open_run(folder)
    said = record.read_json(folder / "settings.json")["attack"]["settings"]["metagradient"]
    if said == "matching" and not (folder / "poisons.safetensors").exists():
        raise RecordError(
            f"the run in {folder} is of another gradient matching (metagradient {said}), which is "
            "gone: start anew with --method gradient-matching"
        )


def saved_state(folder: Path, ready: Prepared) -> CraftState | None:
    """The state to go on from. Raises RecordError if it is another run's."""
    s, device = ready.attack.settings, ready.scenario.targets.device
    perturbation, path = PERTURBATIONS[s.perturbation], folder / "state.safetensors"
    delta = perturbation.init(ready.scenario.base_images, s.epsilon, torch.Generator())
    fresh = dict(ready.network.named_parameters()), dict(ready.network.named_buffers())
    expected = [{k: (v.dtype, v.shape) for k, v in delta.items()}] * 3
    expected += [{k: (v.dtype, (s.models, *v.shape)) for k, v in f.items()} for f in fresh]
    kept = expected[0] | {"loss": (torch.float32, ())}
    state = record.load_state(folder, device, _bytes([*expected, kept]))
    if state is None:
        return None
    parts = (state.parameters, state.moment1, state.moment2, *state.surrogates, state.kept)
    looks = [{k: (v.dtype, v.shape) for k, v in part.items()} for part in parts]
    if looks != [*expected, kept if s.place_of(state.step)[0] else {}]:
        raise RecordError(
            f"{path} is not of the run that settings.json describes: start the run anew"
        )
    if not all(v.isfinite().all() for part in parts for v in part.values()):
        raise RecordError(f"{path} holds what is no number: start the run anew")
    return state


def _bytes(parts: list[dict]) -> int:
    """What a file of such tensors may have: their numbers, and some to name them."""
    return record.ROOM + sum(
        math.prod(shape) * dtype.itemsize for part in parts for dtype, shape in part.values()
    )
