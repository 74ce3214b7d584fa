"""Small attacks, alone or as one of several ranks: what they come to, to the last bit.

python -m tests.ranks.work FILE    (as a rank; the first writes the file)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

from mpkit.group import joined
from mpkit.metapoison import poisons_of
from mpkit.ranks import ALONE, Ranks
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from mpkit.runs.record import flatten
from mpkit.runs.together import handed_out, whole

TINY = {
    "data": "digits", "size": 10, "n_train": 60, "n_test": 60, "models": 4, "craft_steps": 3,
    "epochs": 2, "batch": 20, "unroll_steps": 2, "victims": 2, "target_index": 0,
    "target_class": "3", "poison_class": "8",
}  # fmt: skip
CASES = {
    "metapoison": {},
    "fewer models than ranks": {"models": 1, "victims": 1},
    "a rival": {"method": "gradient-matching"},
    "another rival": {"method": "feature-collision", "models": 2, "victims": 1},
    "fine-tuned": {"fine_tune": "last", "data": "signs", "size": None, "victims": 1,
                   "target_class": None, "poison_class": None},
    "batch norm": {"network": "convnet-bn", "craft_steps": 2, "victims": 1},
    "a filter": {"defense": "loss", "craft_steps": 1},
    "a trainer": {"defense": "mixup", "craft_steps": 1},
}  # fmt: skip


def come_to(case: str, ranks: Ranks = ALONE) -> list:
    """[the state's checksum, records, victims] of a case, on the first rank; halfway it is handed
    out anew, as to a run that goes on."""
    given = {k: v for k, v in (TINY | CASES[case]).items() if v is not None}
    ready = dataclasses.replace(prepare(make_attack("ci", **given), progress=False), ranks=ranks)
    records, state = [], None
    while state is None or state.step < ready.attack.settings.craft_steps:
        state, record = next(ready.craft(state))
        records.append(dataclasses.replace(record, seconds=0.0))
        entire = whole(state, ready)
        state = handed_out(entire if ranks.first else None, ready)
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    kept, _ = ready.screened(poisons)
    *_, (_, victims) = ready.judge(poisons, kept=kept)
    numbers = hashlib.sha256()
    for name, tensor in flatten(entire).items():
        numbers.update(name.encode() + tensor.numpy().tobytes())
    rows = [[dataclasses.asdict(r) for r in some] for some in (records, victims)]
    return json.loads(json.dumps([numbers.hexdigest(), *rows]))


def main(out: str) -> None:
    with joined(print) as group:
        found = {case: come_to(case, group.ranks) for case in CASES}
        if group.ranks.first:
            Path(out).write_text(json.dumps(found, allow_nan=True), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
