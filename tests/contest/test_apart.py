"""A process of its own: it answers, or what it was lost by is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from mpkit.contest import apart
from mpkit.contest.apart import COMMAND, Fault, Killed, Lost, answers


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-c", f"import sys, json; {text}")


def test_answers_come_line_by_line():
    text = "job = json.load(sys.stdin); [print(json.dumps({'n': i})) for i in range(job['many'])]"
    assert list(answers({"many": 3}, 5, python(text))) == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print(json.dumps({'lost': 'too slow'}))", "too slow"),
        ("sys.exit(3)", "its process ended by 3"),
        ("import os; os.kill(os.getpid(), 11)", "its process ended by -11"),
    ],
)
def test_what_a_round_was_lost_by_is_said(text, words):
    with pytest.raises(Lost, match=words):
        list(answers({}, 5, python(text)))


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_what_the_system_killed_is_told_apart():
    with pytest.raises(Killed, match="the system killed its process"):
        list(answers({}, 5, python("import os; os.kill(os.getpid(), 9)")))


def test_what_is_no_teams_fault_is_no_loss():
    with pytest.raises(Fault, match=r"by no team's fault: no room. Mend that, and go on"):
        list(answers({}, 5, python("print(json.dumps({'fault': 'no room'}))")))


def test_what_says_nothing_is_killed(monkeypatch):
    monkeypatch.setattr(apart, "START", 1.0)
    text = "print(json.dumps({'n': 1}), flush=True); import time; time.sleep(1000)"
    found = answers({}, 0.5, python(text))
    assert next(found) == {"n": 1}
    with pytest.raises(Lost, match=r"nothing came of it in 3 seconds") as told:
        next(found)
    assert told.type is Lost


@pytest.mark.skipif(os.name == "nt", reason="the system stops no process")
def test_who_was_stopped_has_waited_for_nothing(tmp_path):
    go = tmp_path / "go"
    work = f"import pathlib, time; go = pathlib.Path({str(go)!r}); "
    work += "print(json.dumps({'n': 1}), flush=True)\nwhile not go.exists(): time.sleep(0.05)\n"
    text = "import sys\nfrom mpkit.contest import apart\napart.START = 4\n"
    text += f"command = (sys.executable, '-P', '-c', {('import sys, json; ' + work)!r})\n"
    text += "for row in apart.answers({}, 0, command): print(row, flush=True)\nprint('whole')"
    contest = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert contest.stdout.readline() == b"{'n': 1}\n"
    time.sleep(0.2)  # so that it waits for what comes next
    contest.send_signal(signal.SIGSTOP)
    time.sleep(5)
    contest.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    go.touch()
    assert contest.communicate()[0] == b"whole\n"


def test_who_has_heard_enough_leaves_no_process():
    text = "print(json.dumps({'pid': __import__('os').getpid()}), flush=True); sys.stdin.read(1); "
    text += "import time; time.sleep(1000)"
    found = answers({}, 100, python(text))
    pid = next(found)["pid"]
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_module_comes_from_the_folder_it_runs_in(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    (tmp_path / "torch.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".")
    with pytest.raises(Lost, match="it failed: KeyError"):
        list(answers({"what": "nothing", "memory": 4}, 60))
    assert COMMAND[1] == "-P"
