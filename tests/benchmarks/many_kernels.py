"""What a class on one host costs: kernels with a lab each, idle and running, and how they answer.

    python tests/benchmarks/many_kernels.py [--kernels 30] [--running 10] [--moves 5] [--json FILE]

Every kernel opens a `CraftLab`, as a student's first cell does, and its memory is read (PSS, where
what kernels share counts once; Linux only). Then some of them run, all at once. In each, in turn, a
slider is moved by the message that a browser sends, and it is taken how long the number box beside
it takes to change, and how long until a new picture comes.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import os
import queue
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
OPEN = """
from mpkit.lab import {lab}
lab = {lab}({given})
from IPython.display import display
display(lab)
"""
WARM = "import threading\n[t.join() for t in threading.enumerate() if t.name == 'mpkit warm-up']"
FIND = """
K, run = lab.controls['unroll_steps'], lab.transport.buttons['run']
found = [w.model_id for w in (K.slider, K.box, run, lab.canvas.widget)], K.slider.value
"""
PATIENCE = 120
"""Seconds after which a kernel that says nothing is given up."""


def memory(pid: int) -> dict[str, float]:
    """MiB of a process: `pss`, where what n processes share counts as an nth; and its `own`."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"pss": kib["Pss"] / 1024, "own": own / 1024, "rss": kib["Rss"] / 1024}


class Kernel:
    """A student's kernel: started, and asked as a notebook asks it."""

    def __init__(self, environment: dict[str, str]):
        began = time.perf_counter()
        self.manager = KernelManager(kernel_name="python3")
        where = {"env": environment, "cwd": tempfile.gettempdir(), "stderr": subprocess.DEVNULL}
        self.manager.start_kernel(**where)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self.started = time.perf_counter() - began
        self.pid = self.manager.provisioner.pid

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
        (self.slider, self.box, self.run, self.picture), now = self.ask("found")
        self.places = itertools.cycle([now - 1 if now > 1 else now + 1, now])

    def send(self, widget: str, data: dict) -> None:
        """What a browser sends where somebody moves or presses a widget."""
        content = {"comm_id": widget, "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def press(self) -> None:
        self.send(self.run, {"method": "custom", "content": {"event": "click"}})

    def move(self) -> int:
        """Put the slider to its next place, and tell which; what was said before is dropped."""
        while True:
            try:
                self.client.get_iopub_msg(timeout=0)
            except queue.Empty:
                break
        value = next(self.places)
        self.send(self.slider, {"method": "update", "state": {"value": value}, "buffer_paths": []})
        return value

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

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def answers(kernels: list[Kernel], moves: int, pause: float) -> dict[str, list[float]]:
    """Seconds from a move of the slider to the changed number box, and to the next picture."""
    found = {"answer": [], "picture": []}
    for _, kernel in itertools.product(range(moves), kernels):
        time.sleep(pause)
        began = time.perf_counter()
        value = kernel.move()
        found["answer"].append(kernel.hear(kernel.box, lambda v, to=value: v == to) - began)
        found["picture"].append(kernel.hear(kernel.picture, lambda v: True) - began)
    return found


def total(kernels: list[Kernel]) -> dict[str, float]:
    """Of all kernels, GiB of PSS; and of a kernel, MiB, the median."""
    each = [memory(k.pid) for k in kernels]
    middle = {f"{n}_mib": statistics.median(m[n] for m in each) for n in ("pss", "own", "rss")}
    return {"kernels": len(each), "all_gib": sum(m["pss"] for m in each) / 1024} | middle


def tell(what: str, found: dict[str, float]) -> dict[str, float]:
    print(
        f"{what}: {found['kernels']} kernels have {found['all_gib']:.2f} GiB; each "
        f"{found['pss_mib']:.0f} MiB (PSS), {found['own_mib']:.0f} of them its own",
        flush=True,
    )
    return found


def tell_times(what: str, times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    found = {"n": len(times), "median_s": statistics.median(times), "worst_s": ordered[-1]}
    found["late_s"] = ordered[int(0.95 * (len(times) - 1))]
    print(
        f"{what}: median {found['median_s']:.2f} s, 95th percentile {found['late_s']:.2f} s, "
        f"longest {found['worst_s']:.2f} s (n = {len(times)})",
        flush=True,
    )
    return found


def measure(a: argparse.Namespace, kernels: list[Kernel], environment: dict[str, str]) -> dict:
    """All of it; kernels that were started are in `kernels`, to be closed whatever happens."""
    for _ in range(a.kernels):
        kernels.append(Kernel(environment))
    found = {"start": tell_times("a kernel starts in", [k.started for k in kernels])}
    found["bare"] = tell("started, nothing imported", total(kernels))
    code = OPEN.format(lab=a.lab, given=a.given)
    found["open"] = tell_times("a lab opens in", [k.do(code) for k in kernels])
    for kernel in kernels:
        kernel.do(WARM)
    found["idle"] = tell("a lab each, idle", total(kernels))
    some = kernels[: a.running]
    if not some:
        return found
    for kernel in some:
        kernel.find()
    for kernel in some:
        kernel.press()
    time.sleep(a.settle)
    times = answers(some, a.moves, a.pause)
    found["running"] = tell("running", total(some))
    for name, values in times.items():
        found[name] = tell_times(f"{len(some)} running, from a move to the {name}", values)
    steps = [k.ask("lab.runner.steps") for k in some]
    print(f"craft steps done meanwhile: {min(steps)} to {max(steps)}")
    return found | {"all": tell("all", total(kernels)), "steps": steps}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=int, default=30)
    parser.add_argument("--running", type=int, default=10, help="how many of them run")
    parser.add_argument("--moves", type=int, default=5, help="of the slider, in each that runs")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two moves")
    parser.add_argument("--settle", type=float, default=20, help="seconds after all have begun")
    parser.add_argument("--lab", default="CraftLab")
    parser.add_argument("--given", default="craft_steps=100_000", help="what it is made with")
    add_json(parser)
    a = parser.parse_args(arguments)
    if not Path("/proc/self/smaps_rollup").exists():
        return print("memory that processes share is told by Linux alone")
    print(headline())
    kernels: list[Kernel] = []
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "MPKIT_DATA": folder}
        environment.pop("MPKIT_SYNC", None)
        try:
            found = measure(a, kernels, environment)
        finally:
            for kernel in kernels:
                kernel.close()
    write_json(a.json, {"given": vars(a) | {"json": None}} | found)


if __name__ == "__main__":
    sys.exit(main())
