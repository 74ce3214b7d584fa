"""Records as lines: what is cut off, damaged, or later than the state."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import pytest

from mpkit.data.schema import sealed
from mpkit.evaluation.victims import VictimRecord
from mpkit.metapoison import CraftRecord, craft
from mpkit.networks import network
from mpkit.runs import record
from mpkit.runs.record import RecordError
from tests.runs.conftest import scenario, settings

# ── lines ───────────────────────────────────────────────────────────────────────────────────────


def craft_record(step=1, loss=0.1, **changes) -> CraftRecord:
    values = {
        "losses": (loss, 1 / 3), "ages": (0, 3), "epsilon": 8 / 255, "epsilon_c": 0.04,
        "unroll_steps": 2, "perturbation_mean": 1e-9, "seconds": 0.25,
    }  # fmt: skip
    return CraftRecord(step, loss, **values | changes)


@pytest.fixture
def folder(tmp_path):
    record.write_json(tmp_path / "settings.json", {})
    return tmp_path


def test_replay_gives_what_craft_gave(folder):
    s, how = scenario(), settings()
    given = [r for _, r in craft(s, network("mlp", s.train.shape, 2), how)]
    for r in given:
        record.append(folder / "records.jsonl", [r])
    assert record.replay(folder) == given
    assert len(given) == how.craft_steps
    lines = (folder / "records.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        sealed(dataclasses.asdict(r) | {"losses": list(r.losses), "ages": list(r.ages)})
        for r in given
    ]


def test_replay_keeps_every_bit_of_a_number(folder):
    draw = random.Random(0)
    numbers = [draw.uniform(-1, 1) * 10.0 ** draw.randint(-300, 300) for _ in range(200)]
    given = [craft_record(i, x, losses=(x, -x)) for i, x in enumerate(numbers, 1)]
    record.append(folder / "records.jsonl", given)
    assert record.replay(folder) == given
    record.append(folder / "records.jsonl", [craft_record(201, math.inf, losses=(-math.inf, 0.0))])
    assert record.replay(folder)[-1].losses == (-math.inf, 0.0)


def test_replay_of_no_steps_and_of_no_run(folder, tmp_path_factory):
    assert record.replay(folder) == []
    with pytest.raises(RecordError, match="no run folder"):
        record.replay(tmp_path_factory.mktemp("empty"))


def test_replay_does_without_what_it_does_not_know(folder):
    row = dataclasses.asdict(craft_record()) | {"added_later": [1, 2]}
    record.append(folder / "records.jsonl", [row])
    assert record.replay(folder) == [craft_record()]


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(CraftRecord)])
def test_replay_refuses_a_record_that_lacks_a_field(field, folder):
    row = dataclasses.asdict(craft_record())
    del row[field]
    record.append(folder / "records.jsonl", [row])
    with pytest.raises(RecordError, match=r"records\.jsonl is damaged"):
        record.replay(folder)


@pytest.mark.parametrize(
    "wrong",
    [{"step": "1"}, {"step": True}, {"step": 0}, {"loss": None}, {"loss": [1]}, {"loss": 10**400},
     {"losses": 3}, {"losses": []}, {"losses": [1]}, {"losses": ["x", "y"]}, {"ages": [0]},
     {"ages": [0, -1]}, {"ages": [0, 1.5]}, {"epsilon": 7}, {"epsilon_c": -1}, {"seconds": -1},
     {"unroll_steps": 2.5}, {"unroll_steps": 10**9}, {"seconds": "nan"}],
)  # fmt: skip
def test_replay_refuses_what_no_run_has_recorded(wrong, folder):
    row = dataclasses.asdict(craft_record()) | wrong
    record.append(folder / "records.jsonl", [row])
    with pytest.raises(RecordError, match=r"records\.jsonl is damaged"):
        record.replay(folder)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(CraftRecord)])
def test_replay_refuses_a_value_that_was_changed(field, folder):
    path = folder / "records.jsonl"
    record.append(path, [craft_record(n) for n in (1, 2)])
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    first[field] = [first[field][0] + 1, *first[field][1:]] if field in ("losses", "ages") else 9
    path.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    with pytest.raises(RecordError, match="line 1: it was changed since it was written"):
        record.replay(folder)


def test_replay_refuses_a_line_without_a_checksum(folder):
    record.append(folder / "records.jsonl", [craft_record()])
    with open(folder / "records.jsonl", "a") as file:
        file.write(json.dumps(dataclasses.asdict(craft_record(2))) + "\n")
    with pytest.raises(RecordError, match="line 2: it was changed since it was written"):
        record.replay(folder)


def test_a_file_that_is_too_large_or_endless_is_refused(folder, monkeypatch):
    record.append(folder / "records.jsonl", [craft_record()])
    monkeypatch.setattr(record, "MAX_LINES", 9)
    with pytest.raises(RecordError, match="more than the 9 bytes"):
        record.replay(folder)
    monkeypatch.undo()
    (folder / "records.jsonl").write_bytes(b"{" * 100_000 + b"\n{}\n")
    with pytest.raises(RecordError, match="line 1 is no JSON object"):
        record.replay(folder)


def test_a_last_line_cut_off_anywhere_is_left_out_and_written_over(tmp_path):
    path = tmp_path / "lines"
    record.append(path, [{"n": 1}, {"n": 2, "text": "é{}"}])
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for length in range(start, len(whole) + 1):
        path.write_bytes(whole[:length])
        complete = length >= len(whole) - 1  # only the end of the line is missing, or nothing
        expected = [{"n": 1}, {"n": 2, "text": "é{}"}][: 1 + complete]
        assert record.read_lines(path) == expected
        record.append(path, [{"n": 3}])
        assert record.read_lines(path) == [*expected, {"n": 3}]


@pytest.mark.parametrize("wrong", [b"", b"{", b"[1]", b"null", b"7", b"\xff", b'{"n": 1}{'])
def test_a_damaged_line_before_the_last_is_refused_by_number(wrong, tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b'{"n": 1}\n' + wrong + b'\n{"n": 3}\n')
    with pytest.raises(RecordError, match="line 2 is no JSON object"):
        record.read_lines(path)


@pytest.mark.parametrize("text", ["my thesis", "first\nmy thesis", "[1, 2]"])
def test_nothing_is_appended_to_a_file_of_something_else(text, tmp_path):
    (tmp_path / "thesis.txt").write_text(text)
    with pytest.raises(RecordError, match=r"thesis\.txt is no file of records"):
        record.append(tmp_path / "thesis.txt", [{"n": 1}])
    assert (tmp_path / "thesis.txt").read_text() == text


def test_lines_end_only_where_they_end(tmp_path):
    # What str.splitlines takes for ends of lines, and JSON leaves as it is.
    awkward = "a\u2028b\u2029c\x85d\x0be\x1cf\rg"
    record.append(tmp_path / "lines", [{"name": awkward}, {"n": 2}])
    assert record.read_lines(tmp_path / "lines") == [{"name": awkward}, {"n": 2}]


def test_a_missing_file_has_no_lines_and_a_folder_is_refused(tmp_path):
    assert record.read_lines(tmp_path / "lines") == []
    with pytest.raises(RecordError, match="can't be read"):
        record.read_lines(tmp_path)


def test_victims_are_lines_too(tmp_path):
    given = VictimRecord("poisoned", 1, (3, 2), (True, False), (0.25, 1 / 3), (0.5, 0.1), 0.9)
    record.append(tmp_path / "victims.jsonl", [given])
    (row,) = record.read_lines(tmp_path / "victims.jsonl")
    assert (
        VictimRecord(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}) == given
    )


@pytest.mark.parametrize("step", [0, 1, 3, 4])
def test_records_later_than_the_state_are_forgotten(step, folder):
    steps = [craft_record(i, i / 7) for i in (1, 2, 3, 4)]
    record.append(folder / "records.jsonl", steps)
    whole = (folder / "records.jsonl").read_bytes()
    with open(folder / "records.jsonl", "ab") as file:
        file.write(b'{"step": 5, "lo')
    record.truncate_records(folder, step)
    assert record.replay(folder) == steps[:step]
    kept = (folder / "records.jsonl").read_bytes()
    assert kept == b"".join(line + b"\n" for line in whole.split(b"\n")[:step])


@pytest.mark.parametrize("there", [[], [1], [2, 3], [1, 3], [1, 1, 2, 3], [3, 2, 1]])
def test_records_that_lack_or_repeat_a_step_are_refused(there, folder):
    record.append(folder / "records.jsonl", [craft_record(i) for i in there])
    with pytest.raises(RecordError, match=r"records\.jsonl is damaged"):
        record.truncate_records(folder, 3)
    assert [r["step"] for r in record.read_lines(folder / "records.jsonl")] == there
    if there not in ([], [1]):  # no lab draws them either
        with pytest.raises(RecordError, match=r"records\.jsonl is damaged: line \d: step"):
            record.replay(folder)


# ── poisons, fingerprint, versions ──────────────────────────────────────────────────────────────


def test_lines_are_strict_json_and_lose_nothing(folder):
    odd = (math.inf, -math.inf, math.nan)
    given = [craft_record(1, math.nan, losses=odd, ages=(0, 1, 2))]
    record.append(folder / "records.jsonl", given)
    json.loads(
        (folder / "records.jsonl").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert repr(record.replay(folder)) == repr(given)
    record.write_json(folder / "x.json", {"loss": math.nan, "all": (1, math.inf)})
    assert record.read_json(folder / "x.json") == {"loss": "nan", "all": [1, "inf"]}
