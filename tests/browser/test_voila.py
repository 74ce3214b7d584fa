"""The lecturer's pages: labs without code, in large type, behind a token."""

from __future__ import annotations

import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from server import ROOT, expect, served

PAGES = ROOT / "notebooks" / "lecture"
VOILA = [
    "jupyter_server", "--allow-root", "--no-browser", "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port={port}", "--ServerApp.root_dir={root}", "--IdentityProvider.token={token}",
    "--ServerApp.jpserver_extensions=voila.server_extension=True",
]  # fmt: skip


@pytest.fixture(scope="module")
def voila(tmp_path_factory):
    with served(tmp_path_factory.mktemp("voila"), VOILA, "api", MPKIT_SCALE="ci") as server:
        for page in PAGES.glob("*.ipynb"):
            shutil.copy(page, server.root)
        yield server


def test_a_page_wants_the_token(voila):
    bare = f"http://127.0.0.1:{voila.port}/voila/render/2-unroll.ipynb"
    refused = None
    try:
        with urllib.request.urlopen(bare, timeout=30) as answer:
            refused = "/login" in answer.url
    except urllib.error.HTTPError as error:
        refused = error.code == 403
    assert refused


@pytest.mark.parametrize("name", sorted(p.stem for p in PAGES.glob("*.ipynb")))
def test_a_lab_runs_without_code(page, voila, name):
    page.goto(voila.url(f"voila/render/{name}.ipynb"), timeout=90_000)
    run = page.get_by_role("button", name=re.compile("Run$")).first
    run.wait_for(timeout=60_000)
    assert page.locator("text=from mpkit.lab import").count() == 0
    size = run.evaluate("e => getComputedStyle(e).fontSize")
    assert float(size.removesuffix("px")) >= 20
    picture = page.locator("img[src^='data:image/jpeg']").filter(visible=True).first
    before = page.locator("img[style*='max-width']").first.get_attribute("alt")
    run.click()
    expect(page.get_by_text("running", exact=False).first).to_be_visible(timeout=20_000)
    expect(page.locator("img[style*='max-width']").first).not_to_have_attribute(
        "alt", before, timeout=60_000
    )
    assert picture.count() == 1


def test_two_labs_of_one_page_both_live(page, voila):
    book = nbformat.v4.new_notebook()
    cells = [f"from mpkit.lab import UnrollLab\nlab = UnrollLab(seed={seed})\nlab" for seed in "12"]
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(book, voila.root / "two.ipynb")
    page.goto(voila.url("voila/render/two.ipynb"), timeout=90_000)
    for place in (0, 1):
        run = page.get_by_role("button", name=re.compile("Run$")).nth(place)
        run.wait_for(timeout=60_000)
        run.click()
        done = page.get_by_text("move 25 of 25").nth(place)
        expect(done).to_be_visible(timeout=60_000)


def test_make_lecture_serves_what_is_tested():
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.split("\nlecture:")[1].split("\n\n")[0]
    assert "--ServerApp.ip=127.0.0.1" in recipe
    assert "voila.server_extension=True" in recipe
    assert "token=" not in recipe  # the server draws one
    assert Path(ROOT / "notebooks" / "lecture").is_dir()
