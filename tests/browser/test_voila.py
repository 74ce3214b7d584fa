"""The lecturer's pages: labs without code, in large type, behind a token."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from server import ROOT, expect, serious, served

PAGES = ROOT / "notebooks" / "lecture"
LABS = sorted(path.stem for path in PAGES.glob("[0-9]*.ipynb"))
VOILA = [
    "jupyter_server", "--allow-root", "--no-browser", "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port={port}", "--ServerApp.root_dir={root}", "--IdentityProvider.token={token}",
    "--ServerApp.jpserver_extensions=voila.server_extension=True",
    "--KernelManager.shutdown_wait_time=1",  # seconds, where a lab still runs
]  # fmt: skip


@pytest.fixture(scope="module")
def voila(tmp_path_factory):
    with served(tmp_path_factory.mktemp("voila"), VOILA, "api", MPKIT_SCALE="ci") as server:
        shutil.copytree(PAGES, server.root, dirs_exist_ok=True)
        yield server


@pytest.fixture(scope="module")
def page(browser):
    """One for all: a new one loads and compiles all scripts anew."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture(autouse=True)
def no_kernel_goes_on(voila):
    """A lab runs on where its page is closed, and takes its core from the next one."""
    yield
    with urllib.request.urlopen(voila.url("api/kernels"), timeout=30) as answer:
        for kernel in json.load(answer):
            address = voila.url(f"api/kernels/{kernel['id']}")
            urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=60)


def test_a_page_wants_the_token(voila):
    bare = f"http://127.0.0.1:{voila.port}/voila/render/2-unroll.ipynb"
    refused = None
    try:
        with urllib.request.urlopen(bare, timeout=30) as answer:
            refused = "/login" in answer.url
    except urllib.error.HTTPError as error:
        refused = error.code == 403
    assert refused


def cut(page) -> list[str]:
    """What has more words than there is room for."""
    return page.evaluate(
        """() => [...document.querySelectorAll('h1, button, .widget-label, [role=status]')]
            .filter(e => e.getClientRects().length && e.textContent)
            .filter(e => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
            .map(e => e.outerHTML)"""
    )


@pytest.mark.parametrize("name", LABS)
def test_a_lab_runs_without_code(page, voila, name):
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(voila.url(f"voila/render/{name}.ipynb"), timeout=90_000)
    run = page.get_by_role("button", name=re.compile("Run$")).first
    run.wait_for(timeout=120_000)
    assert page.locator("text=from mpkit.lab import").count() == 0
    size = run.evaluate("e => getComputedStyle(e).fontSize")
    assert float(size.removesuffix("px")) >= 20
    assert page.get_by_role("link", name="All pages").get_attribute("href") == "index.ipynb"
    assert not cut(page)
    stage, panel = (
        page.locator(name).first.bounding_box()["width"]
        for name in (".mpkit-stage", ".mpkit-lecture")
    )
    assert panel > 0.95 * 1440
    assert stage > 0.6 * panel
    picture = page.locator("img[src^='data:image/jpeg']").filter(visible=True).first
    before = page.locator("img[style*='max-width']").first.get_attribute("alt")
    run.click()
    expect(page.get_by_text("running", exact=False).first).to_be_visible(timeout=60_000)
    expect(page.locator("img[style*='max-width']").first).not_to_have_attribute(
        "alt", before, timeout=60_000
    )
    assert picture.count() == 1
    assert not serious(page)


def test_the_index_leads_to_every_page(page, voila):
    page.goto(voila.url("voila/render/index.ipynb"), timeout=90_000)
    cards = page.locator(".mpkit-index a")
    expect(cards).to_have_count(len(LABS), timeout=60_000)
    for card, name in zip(cards.all(), LABS, strict=True):
        assert card.get_attribute("href") == f"{name}.ipynb"
        assert card.locator("img").evaluate("image => image.naturalWidth") >= 400
        expect(card.locator("p")).not_to_be_empty()
    assert not serious(page)
    cards.first.press("Enter")
    page.wait_for_url(f"**/{LABS[0]}.ipynb*", wait_until="commit", timeout=60_000)
    page.get_by_role("button", name=re.compile("Run$")).first.wait_for(timeout=60_000)


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
