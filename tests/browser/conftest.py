"""What the browser tests share. Where something is missing they are skipped, but never in CI."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from desk import Desk
from server import CHROMIUM, JUPYTERLAB, SMALL, Notebook, expect, served, sync_playwright

OLD_KERNEL = "ipykernel==6.31.0"


def missing(what: str) -> NoReturn:
    """Skip, saying what is missing; in CI that is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="session")
def browser():
    if sync_playwright is None:
        missing("there is no playwright: pip install mpkit[browser]")
    if not Path(CHROMIUM).exists():
        missing(f"there is no {CHROMIUM}: install chromium, or name one in MPKIT_CHROMIUM")
    expect.set_options(timeout=40_000)  # others may be busy on this machine
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": 1280, "height": 1000})  # one cache for all
        browser.close()


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory):
    with served(tmp_path_factory.mktemp("jupyter"), JUPYTERLAB, "api", MPKIT_SCALE="ci") as server:
        yield server


@pytest.fixture(scope="session")
def old_kernel(tmp_path_factory, jupyter):
    """The name of a kernel that is an ipykernel 6, beside the environment's 7."""
    folder = str(tmp_path_factory.mktemp("ipykernel6"))
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
    done = subprocess.run([*command, OLD_KERNEL], capture_output=True, text=True)
    if done.returncode:
        missing(f"{OLD_KERNEL} can't be installed: {done.stderr.strip()}")
    start = (
        f"import runpy, sys; sys.path.insert(0, {folder!r}); "
        "runpy.run_module('ipykernel_launcher', run_name='__main__')"
    )
    kernel = {
        "argv": [sys.executable, "-c", start, "-f", "{connection_file}"],
        "display_name": "ipykernel6",
        "language": "python",
    }
    spec = jupyter.folder / "DATA_DIR" / "kernels" / "ipykernel6"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps(kernel))
    return "ipykernel6"


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture
def kernel():
    """The kernel of today; a test may be parametrized with that of yesterday, too."""
    return "python3"


@pytest.fixture(scope="session")
def one_desk(browser, jupyter):
    return Desk(browser, jupyter)


@pytest.fixture
def desk(request, one_desk):
    """The `Desk`, cleared after each test, and a new one after a test that failed."""
    failed = request.session.testsfailed
    yield one_desk
    if request.session.testsfailed > failed:
        return one_desk.throw_away()
    try:
        one_desk.clear()
    except BaseException:
        one_desk.throw_away()
        raise


@pytest.fixture
def notebook(request, desk, kernel):
    """``notebook(cells)`` opens a notebook of these cells and runs all of them."""
    name = re.sub(r"\W+", "-", request.node.name)
    kernel = "python3" if kernel == "python3" else request.getfixturevalue("old_kernel")

    def opened(cells: list[str]) -> Notebook:
        book = desk.open(f"{name}.ipynb", cells, kernel)
        book.run_all()
        return book

    return opened


@pytest.fixture
def lab(notebook):
    """A notebook with a CraftLab, all cells run, nothing started."""
    book = notebook(["from mpkit.lab import CraftLab", f"lab = {SMALL}\nlab"])
    book.settled()
    return book
