"""What the browser tests share. Without Chromium they are skipped, but never where CI runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="pip install mpkit[browser]")

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from server import CHROMIUM, JUPYTERLAB, Notebook, served

OLD_KERNEL = "ipykernel==6.31.0"


@pytest.fixture(scope="session")
def browser():
    if not Path(CHROMIUM).exists():
        missing = f"there is no {CHROMIUM}: install chromium, or name one in MPKIT_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def old_kernel(tmp_path_factory):
    """The folder of an ipykernel 6, beside the environment's 7."""
    folder = tmp_path_factory.mktemp("ipykernel6")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*command, OLD_KERNEL], capture_output=True, text=True)
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail(f"{OLD_KERNEL} can't be installed: {done.stderr}")
        pytest.skip(f"{OLD_KERNEL} can't be installed here")
    return folder


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory, old_kernel):
    folder = tmp_path_factory.mktemp("jupyter")
    spec = folder / "DATA_DIR" / "kernels" / "ipykernel6"
    spec.mkdir(parents=True)
    launch = (
        f"import sys; sys.path.insert(0, {str(old_kernel)!r}); import runpy; sys.argv[0] = 'k'; "
    )
    launch += "runpy.run_module('ipykernel_launcher', run_name='__main__')"
    kernel = {
        "argv": [sys.executable, "-c", launch, "-f", "{connection_file}"],
        "display_name": "ipykernel6",
        "language": "python",
    }
    (spec / "kernel.json").write_text(json.dumps(kernel))
    with served(folder, JUPYTERLAB, "api", MPKIT_SCALE="ci") as server:
        yield server


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(30_000)
    yield page
    page.close()


SMALL = (
    "CraftLab(n_train=100, n_test=100, classes=('1', '7'), models=2, epochs=4, craft_steps=400, "
    "size=16, batch=25)"
)
"""A lab whose steps take about a tenth of a second, and of which there are many."""


@pytest.fixture(params=["python3", "ipykernel6"])
def lab(request, page, jupyter):
    """A notebook with a CraftLab, all cells run, nothing started."""
    name = f"{request.node.name.replace('[', '-').replace(']', '')}.ipynb"
    cells = ["from mpkit.lab import CraftLab", f"lab = {SMALL}\nlab"]
    book = Notebook.open(page, jupyter, name, cells, request.param)
    book.run_all()
    book.button("Run").wait_for()
    yield book
    book.shut_down()
