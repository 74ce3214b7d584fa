"""Runs on disk: what is written comes back bit for bit, and damage is refused."""

from __future__ import annotations

import dataclasses
import math
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from mpkit.data import files
from mpkit.data.schema import sealed
from mpkit.functional import State
from mpkit.metapoison import CraftState, Pull, craft, poisons_of
from mpkit.networks import network
from mpkit.runs import record
from mpkit.runs.record import RecordError
from tests.runs.conftest import scenario, settings


def test_a_new_folder_is_nobody_elses(tmp_path):
    path = tmp_path / "runs" / "run"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: record.new_folder(path), range(24)))
    assert {p.name for p in found} == {"run", *(f"run-{i}" for i in range(2, 25))}
    assert all(p.is_dir() for p in found)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        record.new_folder(tmp_path / "file" / "run")


def leaves(value) -> list:
    """Everything in a state, in order: names, numbers and tensors, whatever its fields are."""
    if isinstance(value, torch.Tensor):
        return [(value.dtype, tuple(value.shape), value.numpy().tobytes())]
    if isinstance(value, dict):
        return [x for k in sorted(value) for x in [k, *leaves(value[k])]]
    if isinstance(value, State | Pull):
        return [x for part in value for x in leaves(part)]
    if dataclasses.is_dataclass(value):
        return [x for f in dataclasses.fields(value) for x in leaves(getattr(value, f.name))]
    return [value]


# ── whole files ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_writing_leaves_the_old_file_whole(moment, tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write(path, b"old")

    def killed(*_, **__):
        raise SystemError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(record.os, moment, killed)
        with pytest.raises(SystemError):
            files.write(path, b"new and longer")
    assert path.read_bytes() == b"old"
    files.write(path, b"new")  # over what the kill has left
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_is_renamed_is_on_the_disk_already(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(record.os, name)
        monkeypatch.setattr(
            record.os,
            name,
            lambda *a, name=name, real=real, **k: (calls.append(name), real(*a, **k))[1],
        )
    files.write(tmp_path / "file", b"content")
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
    # What the step pulled at the poisons is of the moment, and is not kept.
    assert leaves(loaded) == leaves(dataclasses.replace(first, pull=None))
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


# ── poisons ──────────────────────────────────────────────────────────────────────────────────────


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


# ── what is no longer as it was written ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", [math.nan, 1.5])
def test_tensors_that_changed_are_seen(change, tmp_path):
    record.save_state(tmp_path, some_state())
    record.save_poisons(tmp_path, torch.ones(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([3]))
    for name in ("state", "poisons"):
        path = tmp_path / f"{name}.safetensors"
        with safetensors.safe_open(path, "pt") as file:
            about = file.metadata()
        tensors = safetensors.torch.load_file(path)
        other = {k: (v * change).nan_to_num(9).to(v.dtype) for k, v in tensors.items()}
        safetensors.torch.save_file(other, path, about)
    with pytest.raises(RecordError, match=r"state\.safetensors is damaged .its checksum"):
        record.load_state(tmp_path)
    with pytest.raises(RecordError, match=r"poisons\.safetensors: its checksum"):
        record.load_poisons(tmp_path)


def test_a_state_without_a_checksum_is_of_an_earlier_mpkit(tmp_path):
    record.save_state(tmp_path, some_state())
    path = tmp_path / "state.safetensors"
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, {"step": "3"})
    assert leaves(record.load_state(tmp_path)) == leaves(some_state())
    assert record.saved_step(tmp_path) == 3
    for step in ("-3", "03", "3.0", "1e3", "9" * 30, ""):
        safetensors.torch.save_file(safetensors.torch.load_file(path), path, {"step": step})
        with pytest.raises(RecordError, match="does not tell its step"):
            record.load_state(tmp_path)
        assert record.saved_step(tmp_path) == 0


@pytest.mark.parametrize(
    ("poisons", "rows"),
    [
        (torch.ones(1, 1, 2, 2), torch.tensor([3])),
        (torch.ones(1, 2, 2, dtype=torch.uint8), torch.tensor([3])),
        (torch.ones(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([3, 4])),
        (torch.ones(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([-3])),
        (torch.ones(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([3.0])),
    ],
)
def test_what_are_no_poisons_is_refused(poisons, rows, tmp_path):
    path = tmp_path / "poisons.safetensors"
    safetensors.torch.save_file({"poisons": poisons, "rows": rows}, path)
    with pytest.raises(RecordError, match="no 8-bit pictures"):
        record.load_poisons(tmp_path)


@pytest.mark.parametrize("read", [lambda at: record.read_json(at / "x"), record.load_state])
def test_what_may_not_be_read_is_not_called_damaged(read, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(record.files, "read", refuse)
    monkeypatch.setattr("mpkit.data.tensors.files.read", refuse)
    with pytest.raises(record.RecordError, match="can't be read: Permission denied"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["state", "poisons"])
def test_tensors_without_a_checksum_are_of_the_first_format_alone(name, tmp_path):
    s, how = scenario(), settings()
    *_, (state, _) = craft(s, network("mlp", s.train.shape, 2), how)
    record.save_state(tmp_path, state)
    record.save_poisons(tmp_path, poisons_of(s, state, how), s.bases)
    path = tmp_path / f"{name}.safetensors"
    with safetensors.safe_open(path, "pt") as file:
        about = {k: v for k, v in file.metadata().items() if k != "sha256"}
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, about)
    load = record.load_state if name == "state" else record.load_poisons
    record.write_json(tmp_path / "settings.json", {"format": 1})
    assert load(tmp_path) is not None
    record.write_json(tmp_path / "settings.json", sealed({"format": 2}))
    with pytest.raises(RecordError, match="its checksum is another one"):
        load(tmp_path)
