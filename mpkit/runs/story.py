"""A run as it is told to others: what its card and its page are made of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mpkit.data.archives import DataError
from mpkit.data.datasets import has_cifar10
from mpkit.data.schema import value
from mpkit.defenses.defended import Screening
from mpkit.evaluation.rates import percent
from mpkit.evaluation.records import VictimRecord
from mpkit.evaluation.tally import tallies
from mpkit.evaluation.targets import Target
from mpkit.evaluation.why import why
from mpkit.finetuning import WORDS
from mpkit.metapoison import CraftRecord
from mpkit.runs.attack import Attack
from mpkit.runs.facts import facts_of
from mpkit.runs.folder import open_run
from mpkit.runs.frames import Frames, load_frames
from mpkit.runs.record import RecordError, load_poisons, read_json, replay
from mpkit.runs.share import attack_code
from mpkit.runs.summary import headline
from mpkit.scenario import BASES, Scenario
from mpkit.settings import METHODS


@dataclasses.dataclass(frozen=True)
class Story:
    """What is known of a run: its craft `steps`, `victims` and twins, uint8 `poisons`
    (P, C, H, W), and `frames` of how they grew. Without its data there are no pictures: `scenario`
    is None. `missing` says in words what is not there, `code` is its share code, `share`
    says in words how much of the poisons' change was used, if not all, and `screened` what a filter
    threw away of the poisoned pictures, if there was one."""

    attack: Attack
    scenario: Scenario | None = None
    steps: Sequence[CraftRecord] = ()
    poisons: Tensor | None = None
    victims: Sequence[VictimRecord] = ()
    frames: Frames | None = None
    targets: tuple[Target, ...] = ()
    missing: str = ""
    code: str = ""
    share: str = ""
    screened: str = ""

    @functools.cached_property
    def arms(self) -> dict[str, dict]:
        """As `tallies` gives them."""
        return tallies(list(self.victims))

    @functools.cached_property
    def why(self) -> str:
        """Why it failed, "" where it did not, or nothing says so."""
        return why(facts_of(self.attack, self.steps, self.victims, self.scenario, self.targets))

    @property
    def names(self) -> tuple[str, ...]:
        """All classes, as far as they are known: without its data, those that it was told."""
        return self.scenario.train.classes if self.scenario else self.attack.classes or ()

    @property
    def true(self) -> str:
        """The target's own class."""
        if self.scenario:
            return self.names[int(self.scenario.target_labels[0])]
        return self.attack.target_class or "target"

    @property
    def wanted(self) -> str:
        """What it shall be called."""
        if self.attack.goal == "self-concealment":
            return "something else"
        if self.scenario:
            return self.names[int(self.scenario.adversarial[0])]
        return self.attack.adversarial_class or self.attack.poison_class or "another class"

    def title(self, quoted: Callable[[str], str]) -> str:
        """What happened, in a sentence; `quoted` puts a class's name in quotes."""
        hide = self.attack.goal == "self-concealment"
        count = len(self.victims[0].success) if self.victims else 1
        wanted = self.wanted if hide else quoted(self.wanted)
        return headline(quoted(self.true), wanted, count, self.arms)

    @property
    def settings(self) -> list[tuple[str, str]]:
        """What it was run with, in words: (name, value)."""
        a, s = self.attack, self.attack.settings
        victims = a.victim_network or a.network
        return [
            ("data", Path(a.data).name),
            *([("method", METHODS[s.method])] if s.method != "metapoison" else []),
            ("change", s.bounds_in_words),
            *([("share", self.share)] if self.share else []),
            ("poisons", f"{percent(a.budget)} of the pictures"),
            *([("which", BASES[a.bases])] if a.bases != "first" else []),
            ("network", f"{a.network}, {WORDS[a.fine_tune]}"),
            *([("victims' network", victims)] if victims != a.network else []),
            ("surrogates", f"M = {s.models}"),
            *([("steps ahead", f"K = {s.unroll_steps}")] if s.method == "metapoison" else []),
            ("craft steps", f"C = {s.craft_steps}"),
            *([("defense", a.defense.in_words)] if a.defense.defense != "none" else []),
            *([("thrown away", self.screened)] if self.screened else []),
            ("seed", str(s.seed)),
        ]


def story_of(folder: Path, data: str | None = None) -> Story:
    """The story of a run folder, also of an earlier mpkit, or of one whose data are not here; they
    are at `data` if that is named. Raises RecordError for what is no run, or damaged."""
    run = open_run(folder)
    parts = {"steps": replay(folder), "victims": run.victims(), "targets": run.targets}
    scenario, poisons, missing = None, None, ""
    try:
        if run.attack.data == "cifar10" and not data and not has_cifar10():
            raise DataError("CIFAR-10 is fetched by mpkit fetch cifar10")
        scenario = run.prepare(progress=False, device="cpu", data=data).scenario
    except (DataError, RecordError, OSError) as error:
        if data:
            raise
        missing = f"The pictures of this run are not here: {error}"
    if (folder / "poisons.safetensors").exists():
        poisons, rows = load_poisons(folder)
        if scenario and not torch.equal(rows, scenario.bases):
            raise RecordError(f"the poisons in {folder} are of other rows than its settings say")
    frames = load_frames(folder)
    if scenario:
        shape = tuple(scenario.base_images.shape)
        if poisons is not None and tuple(poisons.shape) != shape:
            raise RecordError(f"the poisons in {folder} are no pictures {shape}")
        if frames and (frames.pictures.shape[2:] != shape[1:] or max(frames.which) >= shape[0]):
            raise RecordError(f"the frames in {folder} are of other pictures than the run")
    given = {"scenario": scenario, "poisons": poisons, "frames": frames, "missing": missing}
    given |= {"code": attack_code("craft", run.attack), "screened": _screened(folder)}
    return Story(run.attack, **parts, **given)


def _screened(folder: Path) -> str:
    """What a filter threw away, as the summary has it. Raises RecordError for what is no count."""
    path = folder / "summary.json"
    rows = read_json(path).get("screening", {}) if path.exists() else {}
    try:
        found = value(dict[str, Screening], rows, "screening")
    except ValueError as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    return str(found["poisoned"]) if "poisoned" in found else ""
