"""tests/benchmarks/gpu.py at its smallest: every piece, time that is up, and pieces that fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import gpu
from bench import gpu_checks, gpu_speed
from bench.ledger import Clock, Ledger, Paused, Piece, Skipped, go

TINY = ["--tiny", "--device", "cpu", "--out"]


@pytest.fixture(autouse=True)
def without_jax(monkeypatch):
    """Which takes long to compile."""
    few = gpu_speed.peers
    monkeypatch.setattr(gpu_speed, "peers", lambda: few(("JAX loop", "JAX vmap")))


def last(folder: Path) -> dict[str, dict]:
    rows = map(json.loads, (folder / "results.jsonl").read_text("utf-8").splitlines())
    return {row["piece"]: row for row in rows if "piece" in row}


def test_all_of_it_goes_and_goes_on(tmp_path, monkeypatch, capsys):
    """A call whose time is up at once does nothing; a craft run that is cut, and victims that are,
    go on, and end as those that were not."""
    assert gpu.main([*TINY, str(tmp_path / "none"), "--minutes", "0"]) == 0
    assert not last(tmp_path / "none")
    assert gpu.main([*TINY, str(tmp_path / "one"), "--minutes", "9"]) == 0
    found = last(tmp_path / "one")
    assert {row["state"] for row in found.values()} == {"done"}, found
    assert found["as on the CPU: mlp"]["found"]["float64"] <= gpu_checks.EXACT
    assert "## 6 transfer" in (tmp_path / "one" / "results.md").read_text("utf-8")
    assert "all is done" in capsys.readouterr().out

    short = [*TINY, str(tmp_path / "two"), "--only", "quickstart-bird0"]
    monkeypatch.setattr(Clock, "over", lambda clock, needed=0: needed != 5)  # 5: a piece begins
    for _ in range(3):  # a craft step; another and an epoch of the victim's seven; another epoch
        gpu.main(short)
    rows = map(json.loads, (tmp_path / "two/results.jsonl").read_text("utf-8").splitlines())
    states = [row["state"] for row in rows if row.get("state", "begun") != "begun"]
    assert states == ["paused", "done", "paused", "paused"]
    monkeypatch.undo()
    gpu.main(short)
    for file in ("quickstart-bird0/poisons.safetensors", "victims/quickstart-bird0-victims.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_fails_is_written_down_and_the_next_begins(tmp_path):
    def paused() -> dict:
        raise Paused("step 1 of 2")

    def skipped() -> dict:
        raise Skipped("no such thing here")

    pieces = [
        Piece("g", "wrong", lambda: 1 / 0),
        Piece("g", "skipped", skipped),
        Piece("g", "right", lambda: {"x": 1.23456}),
        Piece("g", "paused", paused),
        Piece("g", "never", dict),
    ]
    said: list[str] = []
    assert not go(pieces, Ledger(tmp_path), Clock(1), said.append)
    found = last(tmp_path)
    states = {name: row["state"] for name, row in found.items()}
    assert states == {"wrong": "failed", "skipped": "skipped", "right": "done", "paused": "paused"}
    assert found["wrong"]["error"] == "ZeroDivisionError: division by zero"
    assert "| right | done | x 1.235 |" in (tmp_path / "results.md").read_text("utf-8")
    pieces[0] = Piece("g", "wrong", dict)
    pieces[3] = Piece("g", "paused", dict)
    assert go(pieces, Ledger(tmp_path), Clock(1), said.append)
    assert last(tmp_path)["wrong"]["state"] == "failed"
    assert go(pieces, Ledger(tmp_path), Clock(1), said.append, again=True)
    assert last(tmp_path)["wrong"]["state"] == "done"


def test_what_ended_the_process_twice_is_not_tried_again(tmp_path):
    for _ in range(2):
        Ledger(tmp_path).write(piece="fatal", group="g", state="begun")
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('\n{"piece": "fat')  # cut short
    assert go([Piece("g", "fatal", lambda: 1 / 0)], Ledger(tmp_path), Clock(1))
    assert "ended the process" in Ledger(tmp_path).of("fatal")[-1]["error"]


def test_a_device_that_is_broken_gets_a_new_process(tmp_path, monkeypatch):
    def broken() -> dict:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    began = []
    monkeypatch.setattr(gpu.os, "execv", lambda _, given: began.append(given))
    monkeypatch.setattr(gpu.Plans, "all", lambda plans: [Piece("g", "x", broken)])
    gpu.main([*TINY, str(tmp_path), "--minutes", "9"])
    assert began[0][2:-2] == [*TINY, str(tmp_path), "--minutes", "9"]
    assert began[0][-2] == "--minutes"
    assert 0 < float(began[0][-1]) <= 9  # what is left of them: the last word counts
    assert last(tmp_path)["x"]["state"] == "failed"


def test_a_difference_is_a_failure(monkeypatch):
    right = gpu_checks.gradients
    monkeypatch.setattr(gpu_checks, "gradients", lambda *a: right(*a) * (1 + 1e-6 * (len(a) == 4)))
    with pytest.raises(AssertionError, match="equal in float64"):
        gpu_checks.as_on_cpu("mlp", gpu.SMALL, ("adjoint",), torch.device("cpu"))


def test_convolutions_agree():
    x, w = torch.rand(3, 2, 4, 5, 5), torch.rand(3, 6, 4, 3, 3)
    wanted = gpu_speed.one_by_one(x, w)
    for way in (gpu_speed.grouped, gpu_speed.unfolded):
        torch.testing.assert_close(way(x, w), wanted)


def test_what_is_not_here_is_refused(tmp_path, monkeypatch, capsys):
    for given, text in (
        (["--device", "cuda:99"], "cuda:99"),
        (["--device", "cpu", "--data", str(tmp_path / "x")], "is not there"),
    ):
        with pytest.raises(SystemExit):
            gpu.main(given)
        assert text in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:  # and `make bench` goes on
        gpu.main([])
    assert ended.value.code == 0
    assert "no GPU" in capsys.readouterr().out
    assert gpu.main(["--list"]) == 0
    names = capsys.readouterr().out
    assert names.index("1 right") < names.index("2 fast") < names.index("dog-bird: crafted to 60")
