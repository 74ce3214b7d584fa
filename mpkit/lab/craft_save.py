"""A live run as a run folder, such as `mpkit attack` writes and resumes."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import mpkit
from mpkit.margins import known_margins
from mpkit.runs import record
from mpkit.runs.prepared import clean_setup
from mpkit.runs.saved import run_folder, run_settings
from mpkit.targets import chosen


def save_run(lab, parent: Path = Path("runs")) -> Path:
    """Write what a `CraftLab` has crafted so far into a new folder: settings (those of the moment),
    records, state and poisons. Returns the folder; `mpkit attack --resume` goes on from it.

    Raises ValueError while there is nothing to save, and OSError where nothing can be written.
    """
    with lab.canvas.lock:  # no step is taken over meanwhile
        state, records = lab.state, list(lab.records)
    if state is None:
        raise ValueError("There is nothing to save yet: ▶ first.")
    attack = dataclasses.replace(lab.ready.attack, settings=lab.knobs())
    ready = dataclasses.replace(lab.ready, attack=attack)
    folder = record.new_folder(run_folder(attack, time.strftime("%Y%m%d-%H%M%S"), parent))
    margins = known_margins(clean_setup(attack, ready.scenario))
    targets = chosen(ready.scenario, margins) if margins else []
    record.write_json(folder / "settings.json", run_settings(ready, mpkit.__version__, targets))
    record.append(folder / "records.jsonl", records)
    record.save_state(folder, state)
    record.save_poisons(folder, lab.poisons(), ready.scenario.bases)
    return folder
