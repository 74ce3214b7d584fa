"""Many students on one host: the benchmark, with two kernels, and what is set for all."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from traitlets.config import Config

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import many_kernels

from tests.test_house import ROOT

linux = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="Linux alone tells what is shared"
)
GIVEN = (
    "data='digits', n_train=60, n_test=60, classes=('1', '7'), size=8, models=2, epochs=3, "
    "craft_steps=100_000, batch=20, target_index=(0,)"
)


# ── the benchmark ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def started(monkeypatch):
    """The process numbers of all kernels, in the order in which they were started."""
    pids, start = [], many_kernels.KernelManager.start_kernel

    def noted(manager, **given):
        start(manager, **given)
        pids.append(manager.provisioner.pid)

    monkeypatch.setattr(many_kernels.KernelManager, "start_kernel", noted)
    return pids


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@linux
def test_two_kernels_are_measured_and_one_answers(tmp_path: Path, started, capsys):
    file = tmp_path / "found.json"
    few = ["--kernels", "2", "--running", "1", "--moves", "2", "--pause", "0", "--scale", "ci"]
    many_kernels.main([*few, "--given", GIVEN, "--json", str(file)])
    found = json.loads(file.read_text())
    assert found["given"]["scale"] == "ci"
    assert found["idle"]["kernels"] == found["all"]["kernels"] == 2
    assert found["running"]["kernels"] == found["rest"]["kernels"] == 1
    assert found["bare"]["own_mib"] < found["idle"]["own_mib"]
    assert found["answer"]["n"] == found["picture"]["n"] == 2
    assert 0 < found["answer"]["worst_s"] <= found["picture"]["worst_s"]
    assert found["steps_a_second"][0] > 0
    assert "from a move to the picture: median" in capsys.readouterr().out
    assert len(started) == 2
    assert not any(map(alive, started))


@linux
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_no_kernel_is_left_where_one_does_not_start(error, started, monkeypatch):
    wait = BlockingKernelClient.wait_for_ready

    def ready(client, timeout):
        wait(client, timeout)
        if len(started) == 2:
            raise error

    monkeypatch.setattr(BlockingKernelClient, "wait_for_ready", ready)
    with pytest.raises(error):
        many_kernels.main(["--kernels", "3", "--running", "0"])
    assert len(started) == 2
    assert not any(map(alive, started))


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_kernel_is_left_where_it_is_stopped(number, until):
    command = [sys.executable, many_kernels.__file__, "--kernels", "2", "--running", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        assert process.stdout.readline()  # the machine; what comes next are kernels
        until(lambda: children.read_text())
        pids = [int(pid) for pid in children.read_text().split()]
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        until(lambda: not any(map(alive, pids)))
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("wrong", [["--kernels", "0"], ["--running", "31"], ["--moves", "0"]])
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises(SystemExit):
        many_kernels.main(wrong)


@linux
def test_the_memory_of_a_process_is_divided():
    found = many_kernels.memory(os.getpid())
    assert 0 < found["own"] <= found["pss"] <= found["rss"]


def test_a_lab_opens_without_what_only_a_defense_needs():
    """As each kernel of a class would have it."""
    code = "import sys, mpkit.lab; print([m for m in ('sklearn', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ── what is set for all ─────────────────────────────────────────────────────────────────────────


def configured(name: str) -> Config:
    """What a file of docs/students/ sets, as Jupyter reads it."""
    c = Config()
    runpy.run_path(str(ROOT / "docs/students" / name), {"get_config": lambda: c})
    return c


def test_a_hub_and_a_shell_set_the_same_and_the_page_says_it():
    shell = many_kernels.settings()
    assert shell["MPKIT_THREADS"] == "2"
    assert configured("jupyterhub_config.py").Spawner.environment == shell
    page = (ROOT / "docs/many-students.md").read_text("utf-8")
    assert dict(re.findall(r"^\| `(\w+)=(\S*)` \|", page, re.MULTILINE)) == shell


def test_servers_are_for_this_machine_and_want_their_token():
    server, hub = configured("jupyter_server_config.py"), configured("jupyterhub_config.py")
    assert server.ServerApp == {"ip": "127.0.0.1"}
    assert "IdentityProvider" not in server  # nobody sets or empties the token
    assert hub.JupyterHub.bind_url.startswith("http://127.0.0.1:")


def test_the_configurations_name_only_what_jupyter_has():
    from jupyter_client.manager import KernelManager
    from jupyter_server.serverapp import ServerApp
    from jupyter_server.services.kernels.kernelmanager import MappingKernelManager

    known = {kind.__name__: kind for kind in (ServerApp, KernelManager, MappingKernelManager)}
    for name, values in configured("jupyter_server_config.py").items():
        assert values.keys() <= known[name].class_traits(config=True).keys()
