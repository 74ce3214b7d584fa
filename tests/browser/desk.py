"""One JupyterLab for the tests of a worker: a page and kernels that are there already."""

from __future__ import annotations

import contextlib

from server import Error, Notebook, Server

CLEAR = """
import gc
from mpkit.lab.kit.panel import Lab
for lab in [each for each in gc.get_objects() if issubclass(type(each), Lab)]:
    lab.close()
get_ipython().run_line_magic("reset", "-f")
"""
"""Leaves a kernel as it was, but for what is imported."""
SHOWN = "window.jupyterapp.shell.currentWidget"


class Desk:
    """Where one notebook after the other is opened, in one page and one kernel of each kind: to
    load the page, start a kernel and import torch takes longer than most tests."""

    def __init__(self, browser, server: Server):
        self.browser, self.server = browser, server
        self.page, self.kernels, self.books = None, {}, []

    def open(
        self, name: str, cells: list[str] | None = None, kernel="python3", screen=(1280, 1000)
    ) -> Notebook:
        """A notebook of these cells, or one that lies in the server's folder; nothing is run."""
        known, page = self.page is not None, self.page or self.browser.new_page()
        page.set_default_timeout(60_000)
        page.set_viewport_size(dict(zip(("width", "height"), screen, strict=True)))
        book, self.page = Notebook(page, self.server, name), page
        if cells is not None:
            book.write(cells, kernel)
        if known:
            page.evaluate("() => window.jupyterapp.serviceManager.kernelspecs.refreshSpecs()")
            running = {"kernel": {"id": self.kernels[kernel]}} if kernel in self.kernels else {}
            book.command("docmanager:open", {"path": name, "factory": "Notebook"} | running)
            book.wait_until_ready()
        else:
            book.load()
        self.kernels[kernel] = page.evaluate(f"() => {SHOWN}.sessionContext.session.kernel.id")
        self.books.append(book)
        return book

    def clear(self) -> None:
        """Close the notebooks and what runs in them; page and kernels are there for the next."""
        while self.books:
            said = self.books.pop().do(CLEAR)
            assert not said, said
            self.page.evaluate(f"() => {SHOWN}.dispose()")

    def throw_away(self) -> None:
        """Page and kernels, where nobody knows what state they are in."""
        if self.page is not None:
            with contextlib.suppress(Error):
                self.page.evaluate("() => window.jupyterapp.serviceManager.kernels.shutdownAll()")
            self.page.close()
        self.page, self.kernels, self.books = None, {}, []
