"""What a student has solved."""

from __future__ import annotations

import json

import pytest

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
    monkeypatch.setenv("HOME", str(tmp_path))
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


@pytest.mark.parametrize("named", ["", "~/progress.json", "~no-such-user/progress.json"])
def test_the_course_goes_on_where_nothing_can_be_kept(named, no_home, monkeypatch, capsys):
    monkeypatch.setenv("MPKIT_PROGRESS", named)
    assert progress.file() is None
    assert check("00.clip", 255).right
    begin("00")
    assert "Chapter 00: 0 of 4 solved" in capsys.readouterr().out


def test_progress_may_be_kept_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPKIT_PROGRESS", "~/mine.json")
    assert progress.file() == tmp_path / "mine.json"


def test_what_was_kept_is_no_exercise_that_was_solved(kept):
    check("00.clip", 255)
    progress.keep("00.chosen", {"a": "b"})
    assert set(progress.solved()) == {"00.clip"}
    assert progress.kept("00.chosen") == {"a": "b"}
    assert progress.kept("00.clip") == progress.kept("01.chosen") == {}
    progress.keep("00.chosen", {"a": "c"})
    assert progress.kept("00.chosen") == {"a": "c"}


def test_nothing_is_kept_where_progress_is_off(monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_PROGRESS", "off")
    monkeypatch.setenv("HOME", str(tmp_path))
    progress.keep("00.chosen", {"a": "b"})
    assert progress.kept("00.chosen") == {}
    assert not list(tmp_path.glob("**/*.json"))
