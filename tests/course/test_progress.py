"""What a student has solved."""

from __future__ import annotations

import json

from mpkit.course import begin, check, progress


def test_progress_is_kept_and_survives_damage(kept):
    assert check("00.clip", 255).right
    assert set(json.loads(kept.read_text())) == {"00.clip"}
    assert progress.report("00", ["00.clip", "00.margin"]).endswith(
        "1 of 2 solved; open: 00.margin"
    )
    kept.write_text("{")
    assert progress.solved() == {}
    assert check("00.margin", 1.5).right
    assert set(json.loads(kept.read_text())) == {"00.margin"}


def test_progress_can_be_off(monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_PROGRESS", "off")
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    assert check("00.clip", 255).right
    assert not list(tmp_path.glob("**/*.json"))


def test_a_student_who_comes_back_sees_what_is_solved(kept, capsys):
    begin("00", seed=3, ci="1 s", laptop="2 s", gpu="3 s")
    said = capsys.readouterr().out
    assert "seed: 3" in said
    assert "Chapter 00: 0 of 4 solved; open: 00.clip, 00.margin, 00.interval, 00.quiz" in said
    check("00.clip", 255)
    begin("00")
    assert "1 of 4 solved; open: 00.margin" in capsys.readouterr().out
