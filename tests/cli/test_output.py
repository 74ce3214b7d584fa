"""Progress on terminals and in logs, and letters that a stream lacks."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from pathlib import Path

import pytest

from mpkit.cli import output


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when they are told to."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(output, "time", clock)
    return clock


def test_a_log_gets_a_line_now_and_then(clock, capsys):
    with output.Progress("crafting", "step", 1000) as progress:
        for done in range(1, 1001):
            clock.now += 0.125  # a binary fraction, so that sums are exact
            progress.reach(done, f"loss {done}")
    found = capsys.readouterr().err
    assert "\r" not in found
    told = found.splitlines()
    assert told[0] == "crafting step 1 of 1000, loss 1, 02:04 left"
    assert told[1] == "crafting step 41 of 1000, loss 41, 01:59 left"
    assert told[-1] == "crafting step 1000 of 1000, loss 1000"
    assert len(told) == 26


def test_time_left_is_by_the_steps_of_this_run(clock, capsys):
    progress = output.Progress("crafting", "step", 100, done=90)
    clock.now += 4
    progress.reach(92)
    assert capsys.readouterr().err == "crafting step 92 of 100, 00:16 left\n"


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with output.Progress("crafting", "step", 4) as progress:
        progress.reach(1, "loss 1")
        progress.say("a line of its own")
        time.sleep(0.11)  # a bar is not redrawn more often
        progress.reach(3, "loss 3")
    text = terminal.getvalue()
    assert "\ra line of its own\n" in re.sub(r"\r +\r", "\r", text)
    assert re.search(r"\rcrafting:  75%\|.*\| 3/4 \[\d\d:\d\d<\d\d:\d\d, .*loss 3\]", text)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_is_quiet(stream, monkeypatch):
    stream = stream()
    monkeypatch.setattr(sys, "stderr", stream)
    with output.Progress("crafting", "step", 4, quiet=True) as progress:
        progress.reach(4, "loss")
        progress.say("a line")
    assert stream.getvalue() == ""


def test_letters_that_a_stream_lacks_do_not_stop_a_run(monkeypatch):
    for name, tell in (("stdout", output.show), ("stderr", output.say)):
        blob = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(blob, "cp1252"))
        tell("ε = 8/255 ± 1, ✓ → ✗, é, 猫")
        said = blob.getvalue().decode("cp1252").strip()
        assert said == "epsilon = 8/255 ± 1, ok -> NO, é, ?"


def test_an_ascii_terminal_tells_good_from_bad(monkeypatch):
    blob = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(blob, "ascii"))
    output.ready_streams()
    print("✓ is not ✗", flush=True)
    assert blob.getvalue() == b"ok is not NO\n"


def test_streams_that_the_shell_closed_become_sinks(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    output.ready_streams()
    output.show("a result")
    output.say("a word")
    with output.Progress("crafting", "step", 4) as progress:
        progress.reach(4)
    assert sys.stdin.read() == ""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_is_an_error_for_results_alone(monkeypatch):
    with open("/dev/full", "w") as full:  # closing it flushes again, as Python does at its end
        monkeypatch.setattr(sys, "stderr", full)
        output.say("how it goes")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(ValueError, match="the output can't be written: No space left"):
            output.show("a result")


@pytest.mark.parametrize("path", [None, "-", "new.json", "old.json"])
def test_a_file_that_can_be_written_is_no_error(path):
    Path("old.json").touch()
    output.refuse_unwritable(path)
    assert not Path("new.json").exists()


@pytest.mark.parametrize("path", ["nowhere/x.json", ".", "", "old.json/x"])
def test_a_file_that_cannot_be_written_is_refused_beforehand(path):
    Path("old.json").touch()
    with pytest.raises(ValueError, match=re.escape(repr(path))):
        output.refuse_unwritable(path)


def test_a_reader_that_has_gone_is_passed_over(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        output.show("a line")
        output.show("and another")
