"""A real JupyterLab of this test run's own, and a page of it to press buttons on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat

try:
    import axe_playwright_python
    from playwright.sync_api import Error, Page, expect, sync_playwright
except ImportError:  # the fixture `browser` says so
    axe_playwright_python = Error = Page = expect = sync_playwright = None

CHROMIUM = os.environ.get("MPKIT_CHROMIUM", "/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
SCENE = (
    "data='digits', n_train=100, n_test=100, classes=('1', '7'), models=2, epochs=4, size=16, "
    "batch=25, victims=2, victim_epochs=4"
)
"""A small one, of which a craft step takes about a tenth of a second."""
SMALL = (
    "CraftLab(data='digits', n_train=100, n_test=100, classes=('1', '7'), models=2, epochs=4, "
    "craft_steps=400, size=16, batch=25)"
)
"""A lab whose steps take about a tenth of a second, and of which there are many."""


THREADS = """
import sys, threading, traceback
for thread in threading.enumerate():
    print("\\n" + thread.name)
    print(*traceback.format_stack(sys._current_frames().get(thread.ident)), sep="")
if "lab" in globals():
    print(vars(lab.runner), lab.message.value, lab.status.value)
if channel := getattr(get_ipython().kernel, "shell_channel_thread", None):
    print("subshells:", channel.manager.list_subshell())
"""
"""Says what every thread of a kernel is doing, and how its lab stands."""
COMMS = """async () => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const over = {};
    for (const comm of kernel._comms.values()) {
        const way = `${comm.targetName} over subshell ${comm.subshellId}`;
        over[way] = (over[way] || 0) + 1;
    }
    return JSON.stringify(over);
}"""
"""By which of a kernel's subshells the page sends what is pressed: the kernel drops what is sent to
one that is no more."""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """JupyterLab (or Voilà) on 127.0.0.1 with a token, its settings in folders of its own."""

    def __init__(self, folder: Path, command: list[str], path: str, extra: dict[str, str]):
        self.folder, self.root, self.log = folder, folder / "notebooks", folder / "server.log"
        self.token, self.port = secrets.token_hex(16), free_port()
        self.root.mkdir()
        news = folder / "SETTINGS_DIR" / "@jupyterlab" / "apputils-extension"
        news.mkdir(parents=True)  # else the first page asks whether it may fetch them
        (news / "notification.jupyterlab-settings").write_text(
            json.dumps({"fetchNews": "false", "checkForUpdates": False})
        )
        environment = os.environ | {"PYTHONPATH": str(ROOT), "MPKIT_PROGRESS": "off"} | extra
        environment.pop("MPKIT_SYNC", None)
        for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
            environment[f"JUPYTER_{name}"] = str(folder / name)
        for name in ("SETTINGS_DIR", "WORKSPACES_DIR"):
            environment[f"JUPYTERLAB_{name}"] = str(folder / name)
        values = {"port": self.port, "token": self.token, "root": self.root}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *[part.format(**values) for part in command]],
                env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
            )  # fmt: skip
        self._wait(path)

    def _wait(self, path: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url(path), timeout=5).close()
                return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        raise AssertionError(f"the server did not come up:\n{self.log.read_text()}")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


JUPYTERLAB = [
    "jupyterlab", "--allow-root", "--no-browser", "--expose-app-in-browser",
    "--ServerApp.ip=127.0.0.1", "--ServerApp.port={port}", "--ServerApp.root_dir={root}",
    "--IdentityProvider.token={token}", "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
]  # fmt: skip


def told(page, words: str):
    """Where a panel tells such words, as seen and not as spoken: its live region repeats them."""
    return page.locator(".widget-html-content", has_text=words)


class Notebook:
    """An open notebook: its page, and its kernel."""

    def __init__(self, page: Page, server: Server, name: str):
        self.page, self.server, self.name = page, server, name

    @classmethod
    def open(cls, page: Page, server: Server, name: str, cells: list[str], kernel="python3"):
        self = cls(page, server, name)
        self.write(cells, kernel)
        self.load()
        return self

    def write(self, cells: list[str], kernel: str) -> None:
        book = nbformat.v4.new_notebook()
        book.cells = [nbformat.v4.new_code_cell(c) for c in cells]
        book.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
        nbformat.write(book, self.server.root / self.name)

    def load(self) -> None:
        """Open the page (again) and wait until its kernel answers."""
        self.page.goto(self.server.url(f"lab/tree/{self.name}") + "&reset")  # no other's tabs
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        self.page.wait_for_function(
            "(name) => window.jupyterapp?.shell?.currentWidget?.context?.path === name && "
            "window.jupyterapp.shell.currentWidget.sessionContext",
            arg=self.name,
            timeout=60_000,
        )
        self.page.evaluate(
            """async () => {
                const widget = window.jupyterapp.shell.currentWidget;
                await widget.context.ready;
                await widget.sessionContext.ready;
                await widget.sessionContext.session.kernel.info;
            }"""
        )

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def command(self, name: str, arguments: dict | None = None) -> None:
        self.page.evaluate(
            "async ([name, a]) => { await window.jupyterapp.commands.execute(name, a); }",
            [name, arguments or {}],
        )

    def ask(self, expression: str):
        """The value (as JSON) that an expression has in the notebook's kernel."""
        code = f"import json as _j; print('\\x02' + _j.dumps({expression}) + '\\x03')"
        said = self.do(code)
        return json.loads(said.split("\x02")[1].split("\x03")[0])

    def do(self, code: str) -> str:
        """Execute code in the kernel, beside the notebook: what it printed."""
        return self.page.evaluate(
            """async (code) => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({code, store_history: false});
                let out = '';
                future.onIOPub = (m) => {
                    if (m.header.msg_type === 'stream') out += m.content.text;
                    if (m.header.msg_type === 'error') out += m.content.traceback.join('\\n');
                };
                await future.done;
                return out;
            }""",
            code,
        )

    def wait_for(self, expression: str, seconds: float = 60):
        """Until an expression is true in the kernel: its value. The longer it takes, the less often
        it is asked: page, server and kernel have work with every question."""
        began = time.monotonic()
        while not (value := self.ask(expression)):
            waited = time.monotonic() - began
            assert waited < seconds, f"never came true: {expression}\n{self.standing()}"
            time.sleep(min(0.05 + waited / 10, 0.5))
        return value

    def standing(self) -> str:
        """How kernel and page stand, for a test that waits in vain."""
        return f"{self.do(THREADS)}\ncomms: {self.page.evaluate(COMMS)}"

    def button(self, label: str, panel: int = 0):
        # The icon before the word counts as a letter of the button's name.
        return self.page.get_by_role("button", name=re.compile(rf"{label}$")).nth(panel)

    def settled(self, label: str = "Run", panel: int = 0) -> None:
        """Wait until a button has come and stands still. While a busy page still moves, a press may
        begin on a button and end beside it, which is none; a hand would press again."""
        button, places = self.button(label, panel), []
        button.wait_for(timeout=120_000)
        while len(places) < 5 or any(place != places[-1] for place in places[-5:]):
            places.append(button.bounding_box())
            time.sleep(0.06)

    def press(self, label: str, panel: int = 0) -> None:
        self.button(label, panel).click()

    def shut_down(self) -> None:
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")


def serious(page, where: str | None = None) -> list[str]:
    """What axe finds there, or on the whole page, that is serious or critical."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(
            (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
        )
    found = page.evaluate("(where) => axe.run(where || document)", where)
    return [
        f"{v['id']}: {node['html'][:200]} {node['failureSummary']}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


@contextlib.contextmanager
def served(folder: Path, command: list[str], path: str, **extra: str) -> Iterator[Server]:
    """A server that is there inside the block."""
    server = Server(folder, command, path, extra)
    try:
        yield server
    finally:
        server.close()
