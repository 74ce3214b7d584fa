"""What a class on one host costs: kernels with a lab each, idle and running, and how they answer.

    python tests/benchmarks/many_kernels.py [--kernels 30] [--running 10] [--moves 5] [--json FILE]

Kernels are started one after the other, with the settings of docs/students/environment.sh. Each
opens a `CraftLab`, as a student's first cell does; then some of them run, all at once, and then
rest. Memory is read at each of these moments: of every kernel (PSS, where what n kernels share
counts as an nth; Linux only), and of the host (what is available). In those that run, in turn, the
slider of K is moved by the message that a browser sends, and two times are taken: until the number
box beside it is set (`answer`), and until a picture comes that names the change (`picture`): that
of the first craft step with the new K. Server, network and browser are not in them. Nothing else
should run meanwhile.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import itertools
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.clock import add_json, headline, write_json
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "docs/students/environment.sh"
OPEN = """
from mpkit.lab import {lab}
lab = {lab}({given})
from IPython.display import display
display(lab)
"""
WARM = "import threading\n[t.join() for t in threading.enumerate() if t.name.startswith('mpkit')]"
FIND = """
K, buttons = lab.controls['unroll_steps'], lab.transport.buttons
found = [w.model_id for w in (K.slider, K.box, lab.canvas.widget)], K.slider.value
buttons = {n: w.model_id for n, w in buttons.items()}
"""
STEPS = 5
"""Craft steps after which a run is well under way: what is traced is then run as a graph."""
PATIENCE = 120
"""Seconds after which a kernel that says nothing is given up."""


def settings() -> dict[str, str]:
    """What the page on many students sets for all."""
    lines = re.findall(r"^export (\w+)=(\S*)", SETTINGS.read_text("utf-8"), re.MULTILINE)
    return dict(lines)


def memory(pid: int) -> dict[str, float]:
    """MiB of a process: `pss`, where what n processes share counts as an nth; and its `own`."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"pss": kib["Pss"] / 1024, "own": own / 1024, "rss": kib["Rss"] / 1024}


def available() -> float:
    """GiB that the host still has for programs."""
    text = Path("/proc/meminfo").read_text()
    return int(re.search(r"MemAvailable: +(\d+)", text)[1]) / 2**20


class Kernel:
    """A student's kernel, asked as a notebook asks it."""

    def __init__(self) -> None:
        self.manager, self.changes = KernelManager(kernel_name="python3"), 0

    def start(self, environment: dict[str, str]) -> float:
        """The seconds it took."""
        began = time.perf_counter()
        where = {"env": environment, "cwd": tempfile.gettempdir(), "stderr": subprocess.DEVNULL}
        self.manager.start_kernel(**where)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        return time.perf_counter() - began

    @property
    def pid(self) -> int:
        return self.manager.provisioner.pid

    def do(self, code: str) -> float:
        """Run a cell: the seconds it took. Raises RuntimeError with the traceback."""
        began = time.perf_counter()
        said = self.client.execute_interactive(
            code, output_hook=lambda message: None, timeout=PATIENCE, store_history=False
        )
        if said["content"]["status"] != "ok":
            raise RuntimeError("\n".join(said["content"]["traceback"]))
        return time.perf_counter() - began

    def ask(self, expression: str) -> object:
        """What an expression gives, where that is plain."""
        said = self.client.execute_interactive(
            "", user_expressions={"x": expression}, output_hook=lambda message: None,
            timeout=PATIENCE, store_history=False,
        )  # fmt: skip
        return ast.literal_eval(said["content"]["user_expressions"]["x"]["data"]["text/plain"])

    def find(self) -> None:
        """The widgets that are asked for later, by the names that a browser knows them by; and
        where the slider is put, in turn."""
        self.do(FIND)
        (self.slider, self.box, self.picture), now = self.ask("found")
        self.buttons = self.ask("buttons")
        self.places = itertools.cycle([now - 1 if now > 1 else now + 1, now])

    def send(self, widget: str, data: dict) -> None:
        """What a browser sends where somebody moves or presses a widget."""
        content = {"comm_id": widget, "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def press(self, button: str) -> None:
        self.send(self.buttons[button], {"method": "custom", "content": {"event": "click"}})

    def move(self) -> tuple[float, float]:
        """Put the slider to its next place: the seconds to the number box, and to the picture with
        the step that has it."""
        value, self.changes = next(self.places), self.changes + 1
        with contextlib.suppress(queue.Empty):
            while True:  # what was said before
                self.client.get_iopub_msg(timeout=0)
        began = time.perf_counter()
        self.send(self.slider, {"method": "update", "state": {"value": value}, "buffer_paths": []})
        answered = self.hear(self.box, lambda shown: shown == value)
        seen = self.hear(self.picture, lambda shown: shown.count("Changed at") == self.changes)
        return answered - began, seen - began

    def hear(self, widget: str, wanted: Callable[[object], bool]) -> float:
        """The moment when a widget is first said to have a `value` that is wanted."""
        end = time.perf_counter() + PATIENCE
        while time.perf_counter() < end:
            try:
                content = self.client.get_iopub_msg(timeout=1)["content"]
            except queue.Empty:
                continue
            state = content.get("data", {}).get("state", {}) if "comm_id" in content else {}
            told = content.get("data", {}).get("method") == "update" and "value" in state
            if told and content["comm_id"] == widget and wanted(state["value"]):
                return time.perf_counter()
        raise TimeoutError(f"no answer within {PATIENCE} s")

    def wait(self, expression: str) -> None:
        """Until that is true there."""
        end = time.perf_counter() + PATIENCE
        while not self.ask(expression):
            if time.perf_counter() > end:
                raise TimeoutError(f"not {expression} within {PATIENCE} s")
            time.sleep(0.2)

    def close(self) -> None:
        """End it, however far it has come."""
        if hasattr(self, "client"):
            self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)


def total(what: str, kernels: list[Kernel]) -> dict[str, float]:
    """Of all kernels, GiB of PSS; and of a kernel, MiB, the median."""
    each = [memory(k.pid) for k in kernels]
    found = {f"{n}_mib": statistics.median(m[n] for m in each) for n in ("pss", "own", "rss")}
    found |= {"kernels": len(each), "all_gib": sum(m["pss"] for m in each) / 1024}
    print(
        f"{what}: {len(each)} kernels have {found['all_gib']:.2f} GiB; each "
        f"{found['pss_mib']:.0f} MiB (PSS), {found['own_mib']:.0f} of them its own",
        flush=True,
    )
    return found


def spread(what: str, times: list[float]) -> dict[str, float]:
    """Of times in seconds, how long it took and how often that was at most a second."""
    ordered = sorted(times)
    found = {"n": len(times), "median_s": statistics.median(times), "worst_s": ordered[-1]}
    found |= {"late_s": ordered[int(0.95 * (len(times) - 1))], "in_1_s": sum(t <= 1 for t in times)}
    print(
        f"{what}: median {found['median_s']:.2f} s, 95th percentile {found['late_s']:.2f} s, "
        f"longest {found['worst_s']:.2f} s; within a second {found['in_1_s']} of {len(times)}",
        flush=True,
    )
    return found


def idle(a: argparse.Namespace, kernels: list[Kernel], environment: dict[str, str]) -> dict:
    """Start all kernels, and open a lab in each."""
    had = available()
    found = {"start": spread("a kernel starts", [k.start(environment) for k in kernels])}
    found["bare"] = total("started, nothing imported", kernels)
    code = OPEN.format(lab=a.lab, given=a.given)
    found["open"] = spread("a lab opens", [k.do(code) for k in kernels])
    for kernel in kernels:
        kernel.do(WARM)
    found["idle"] = total("a lab each, idle", kernels)
    found["host_gib"] = had - available()
    print(f"the host has {found['host_gib']:.2f} GiB less than before")
    return found


def running(a: argparse.Namespace, kernels: list[Kernel]) -> dict:
    """Run some of them, turn K in each in turn, and let them rest."""
    some, had, times = kernels[: a.running], available(), []
    for kernel in some:
        kernel.find()
    for kernel in some:
        kernel.press("run")
    for kernel in some:
        kernel.wait(f"lab.runner.steps >= {STEPS}")
    begun, steps = time.perf_counter(), [k.ask("lab.runner.steps") for k in some]
    for _, kernel in itertools.product(range(a.moves), some):
        time.sleep(a.pause)
        times.append(kernel.move())
    found = {"running": total("those that run", some), "all": total("all, some running", kernels)}
    answers, pictures = zip(*times, strict=True)
    found["answer"] = spread("from a move to the answer", answers)
    found["picture"] = spread("from a move to the picture", pictures)
    done = [k.ask("lab.runner.steps") - n for k, n in zip(some, steps, strict=True)]
    each = found["steps_a_second"] = [n / (time.perf_counter() - begun) for n in done]
    print(f"craft steps a second, of each that runs: {min(each):.2f} to {max(each):.2f}")
    for kernel in some:
        kernel.press("pause")
    for kernel in some:
        kernel.wait("lab.runner.phase.value == 'paused'")
    time.sleep(1)  # the last picture, and memory that goes back
    found["rest"] = total("those that ran, at rest", some)
    found["host_more_gib"] = had - available()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=int, default=30)
    parser.add_argument("--running", type=int, default=10, help="how many of them run")
    parser.add_argument("--moves", type=int, default=5, help="of K's slider, in each that runs")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two moves")
    parser.add_argument("--scale", default="laptop", help="MPKIT_SCALE")
    parser.add_argument("--lab", default="CraftLab")
    parser.add_argument("--given", default="craft_steps=100_000", help="what it is made with")
    add_json(parser)
    a = parser.parse_args(arguments)
    if not 0 <= a.running <= a.kernels or min(a.kernels, a.moves) < 1:
        parser.error("--kernels and --moves are 1 or more, and --running is at most --kernels")
    if not Path("/proc/self/smaps_rollup").exists():
        return print("memory that processes share is told by Linux alone")
    load = os.getloadavg()[0]
    print(f"{headline()}; load before {load:.1f}", flush=True)
    kernels = [Kernel() for _ in range(a.kernels)]
    with contextlib.ExitStack() as stack:  # ends all of them, whatever happens
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        own = {"PYTHONPATH": str(ROOT), "MPKIT_DATA": folder, "MPKIT_SCALE": a.scale}
        environment = os.environ | settings() | own
        environment.pop("MPKIT_SYNC", None)
        for kernel in kernels:
            stack.callback(kernel.close)
        found = idle(a, kernels, environment) | (running(a, kernels) if a.running else {})
    write_json(a.json, {"given": vars(a) | {"json": None}, "load_before": load} | found)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # kernels are ended first
    main()
