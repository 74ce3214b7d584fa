"""Runs on disk: what is written comes back bit for bit, and damage is told from a kill."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from mpkit.data import Dataset
from mpkit.evaluation import VictimRecord
from mpkit.functional import State
from mpkit.metapoison import CraftRecord, CraftState, craft
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.runs import record
from mpkit.runs.record import RecordError
from mpkit.scenario import make_scenario
from mpkit.settings import Settings


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_new_folder_is_nobody_elses(tmp_path):
    path = tmp_path / "runs" / "run"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: record.new_folder(path), range(24)))
    assert {p.name for p in found} == {"run", *(f"run-{i}" for i in range(2, 25))}
    assert all(p.is_dir() for p in found)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        record.new_folder(tmp_path / "file" / "run")


def scenario(channels=1, size=8):
    draw = torch.Generator().manual_seed(0)

    def dataset(n):
        x = torch.randint(0, 256, (n, channels, size, size), generator=draw).float() / 255
        return Dataset(x, torch.arange(n) % 2, ("a", "b"), "random")

    return make_scenario(dataset(24), dataset(6), "a", "b", budget=0.125)


def settings(**changes):
    recipe = Recipe(epochs=2, batch=12)
    return Settings(
        **{"models": 2, "craft_steps": 3, "unroll_steps": 2, "recipe": recipe} | changes
    )


def leaves(value) -> list:
    """Everything in a state, in order: names, numbers and tensors, whatever its fields are."""
    if isinstance(value, torch.Tensor):
        return [(value.dtype, tuple(value.shape), value.numpy().tobytes())]
    if isinstance(value, dict):
        return [x for k in sorted(value) for x in [k, *leaves(value[k])]]
    if isinstance(value, State):
        return [x for part in value for x in leaves(part)]
    if dataclasses.is_dataclass(value):
        return [x for f in dataclasses.fields(value) for x in leaves(getattr(value, f.name))]
    return [value]


# ── whole files ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_writing_leaves_the_old_file_whole(moment, tmp_path, monkeypatch):
    path = tmp_path / "file"
    record.write_atomically(path, b"old")

    def killed(*_):
        raise SystemError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(record.os, moment, killed)
        with pytest.raises(SystemError):
            record.write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"
    record.write_atomically(path, b"new")  # over what the kill has left
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_is_renamed_is_on_the_disk_already(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(record.os, name)
        monkeypatch.setattr(
            record.os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1]
        )
    record.write_atomically(tmp_path / "file", b"content")
    assert calls == ["fsync", "replace"]
    record.append(tmp_path / "lines", [{}])
    assert calls == ["fsync", "replace", "fsync"]


def test_json_comes_back(tmp_path):
    value = {"ε": 8 / 255, "names": ["猫", "a\u2028b"], "none": None, "yes": True, "n": [1, []]}
    record.write_json(tmp_path / "x.json", value)
    assert record.read_json(tmp_path / "x.json") == value
    assert "ε" in (tmp_path / "x.json").read_bytes().decode()


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": 1', b"[]", b"null", b"3", b'"text"', b"\xff\xfe", b"{}{}"]
)
def test_damaged_json_is_refused_by_name(content, tmp_path):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"x\.json is damaged"):
        record.read_json(tmp_path / "x.json")


def test_a_folder_without_a_run_is_refused(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(RecordError, match=r"is no run folder: it has no settings\.json"):
            record.read_json(folder / "settings.json")
    (tmp_path / "settings.json").mkdir()
    with pytest.raises(RecordError, match="damaged"):
        record.read_json(tmp_path / "settings.json")


# ── the state ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "perturbation", "channels"),
    [
        ("mlp", "additive", 1),
        ("mlp", "recolor", 3),
        ("mlp", "both", 1),
        ("convnet-bn", "both", 3),  # the one that has stats
    ],
)
def test_a_state_comes_back_bit_for_bit_and_goes_on_as_if_never_saved(
    name, perturbation, channels, tmp_path
):
    s, how = scenario(channels), settings(perturbation=perturbation)
    net = network(name, s.train.shape, 2)
    run = craft(s, net, how)
    first, _ = next(run)
    record.save_state(tmp_path, first)
    loaded = record.load_state(tmp_path)
    assert leaves(loaded) == leaves(first)
    assert type(loaded) is CraftState
    for unbroken, resumed in zip(run, craft(s, net, how, loaded), strict=True):
        assert leaves(unbroken[0]) == leaves(resumed[0])
        same = dataclasses.replace(unbroken[1], seconds=0)
        assert same == dataclasses.replace(resumed[1], seconds=0)


def some_state(step=3) -> CraftState:
    """Awkward numbers, shared memory, transposed tensors."""
    odd = torch.tensor([[math.nan, math.inf, -0.0], [1e-45, -1e38, 1 / 3]])
    shared = torch.zeros(2, 3)
    weights = {"0.weight": odd.t(), "1.bias": odd[:, 1:], "1/slash": torch.arange(2.0)}
    stats = {"mean": torch.ones(1), "count": torch.tensor([7])}
    return CraftState(
        step, {"delta": odd}, {"delta": shared}, {"delta": shared}, State(weights, stats)
    )


def test_awkward_numbers_come_back(tmp_path):
    state = some_state()
    record.save_state(tmp_path, state)
    loaded = record.load_state(tmp_path)
    # Of a name with slashes the part is what stands before the first; strided tensors are whole.
    assert leaves(loaded) == leaves(state)


def test_no_step_no_state(tmp_path):
    assert record.load_state(tmp_path) is None


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for content in (pickle.dumps(Trap()), pickle.dumps(Trap(), 0)):
        for name in ("state.safetensors", "poisons.safetensors"):
            (tmp_path / name).write_bytes(content)
        with pytest.raises(RecordError, match="damaged"):
            record.load_state(tmp_path)
        with pytest.raises(RecordError, match="no poisons can be read"):
            record.load_poisons(tmp_path)
    torch.save({"delta": torch.zeros(3), "trap": Trap()}, tmp_path / "state.safetensors")
    with pytest.raises(RecordError, match="damaged"):
        record.load_state(tmp_path)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(content).close()  # the trap would have worked
    assert (tmp_path / "sprung").exists()


def test_a_state_cut_off_anywhere_is_refused(tmp_path):
    record.save_state(tmp_path, some_state())
    path = tmp_path / "state.safetensors"
    whole = path.read_bytes()
    for length in {0, 1, 7, 8, 9, *random.Random(0).sample(range(len(whole)), 30), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError, match=r"state\.safetensors is damaged.*start the run anew"):
            record.load_state(tmp_path)
    path.write_bytes(whole + b"x")
    with pytest.raises(RecordError, match="damaged"):
        record.load_state(tmp_path)


@pytest.mark.parametrize("part", ["parameters", "moment1", "moment2", "surrogates.params"])
def test_a_state_that_lacks_a_part_is_refused(part, tmp_path):
    record.save_state(tmp_path, some_state())
    path = tmp_path / "state.safetensors"
    tensors = safetensors.torch.load_file(path)
    kept = {k: v for k, v in tensors.items() if k.split("/")[0] != part}
    assert len(kept) < len(tensors)
    safetensors.torch.save_file(kept, path, {"step": "3"})
    with pytest.raises(RecordError, match="tensors are missing"):
        record.load_state(tmp_path)


@pytest.mark.parametrize("about", [None, {}, {"step": "three"}, {"steps": "3"}])
def test_a_state_that_does_not_tell_its_step_is_refused(about, tmp_path):
    record.save_state(tmp_path, some_state())
    path = tmp_path / "state.safetensors"
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, about)
    with pytest.raises(RecordError, match="damaged"):
        record.load_state(tmp_path)


def test_a_folder_in_the_place_of_a_state_is_refused(tmp_path):
    (tmp_path / "state.safetensors").mkdir()
    with pytest.raises(RecordError, match="damaged"):
        record.load_state(tmp_path)


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
        dataclasses.asdict(r) | {"losses": list(r.losses), "ages": list(r.ages)} for r in given
    ]


def test_replay_keeps_every_bit_of_a_number(folder):
    draw = random.Random(0)
    numbers = [draw.uniform(-1, 1) * 10.0 ** draw.randint(-300, 300) for _ in range(200)]
    given = [craft_record(i, x, losses=(x, -x)) for i, x in enumerate(numbers)]
    record.append(folder / "records.jsonl", given)
    assert record.replay(folder) == given
    record.append(folder / "records.jsonl", [craft_record(1, math.inf, losses=(-math.inf,))])
    assert record.replay(folder)[-1].losses == (-math.inf,)


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
    assert [r.step for r in record.replay(folder)] == there


# ── poisons, fingerprint, versions ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channels", [1, 3])
def test_poisons_come_back_and_are_pictures(channels, tmp_path):
    draw = torch.Generator().manual_seed(0)
    poisons = torch.randint(0, 256, (3, channels, 5, 7), generator=draw, dtype=torch.uint8)
    rows = torch.tensor([12, 0, 123456])
    record.save_poisons(tmp_path, poisons, rows)
    found, where = record.load_poisons(tmp_path)
    assert torch.equal(found, poisons)
    assert torch.equal(where, rows)
    names = {"00012.png": 0, "00000.png": 1, "123456.png": 2}
    assert {p.name for p in (tmp_path / "poisons").iterdir()} == set(names)
    for name, i in names.items():
        with Image.open(tmp_path / "poisons" / name) as picture:
            assert picture.mode == {1: "L", 3: "RGB"}[channels]
            pixels = np.asarray(picture).reshape(5, 7, channels).transpose(2, 0, 1)
        assert (pixels == poisons[i].numpy()).all()


def test_poisons_that_are_not_there_or_damaged_are_refused(tmp_path):
    path = tmp_path / "poisons.safetensors"
    for content in (None, b"", b"x" * 100, safetensors.torch.save({"rows": torch.zeros(1)})):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(RecordError, match=r"no poisons can be read.*poisons\.safetensors"):
            record.load_poisons(tmp_path)


def test_the_fingerprint_changes_with_whatever_a_run_depends_on():
    s = scenario()
    seen = {record.digest(s)}
    assert record.digest(scenario()) in seen

    def touched(tensor):
        changed = tensor.clone()
        changed.view(-1)[-1] += 1
        return changed

    for field in ("train", "validation"):
        part = getattr(s, field)
        for key in ("x", "y"):
            other = dataclasses.replace(part, **{key: touched(getattr(part, key))})
            seen.add(record.digest(dataclasses.replace(s, **{field: other})))
    for field in ("bases", "targets"):
        seen.add(record.digest(dataclasses.replace(s, **{field: touched(getattr(s, field))})))
    assert len(seen) == 7
    assert all(len(found) == 16 for found in seen)


def test_versions_name_what_computes(monkeypatch):
    found = record.versions()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert {"python", "platform", "scipy", "scikit-learn", "pillow", "safetensors"} <= set(found)

    def missing(name):
        raise record.PackageNotFoundError(name)

    monkeypatch.setattr(record, "version", missing)
    assert record.versions()["torch"] == "not installed"
    json.dumps(record.versions())


def test_lines_are_strict_json_and_lose_nothing(folder):
    given = [craft_record(1, math.nan, losses=(math.inf, -math.inf, math.nan))]
    record.append(folder / "records.jsonl", given)
    json.loads(
        (folder / "records.jsonl").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert repr(record.replay(folder)) == repr(given)
    record.write_json(folder / "x.json", {"loss": math.nan, "all": (1, math.inf)})
    assert record.read_json(folder / "x.json") == {"loss": "nan", "all": [1, "inf"]}
