"""Every notebook, executed once by nbval. A chapter first as after "run all", with its labs left
alone; then, in the same kernel, each lab runs to its end, and what looks at it is executed again;
and nbconvert makes a page of all that came out. The lecturer's pages, one lab each, share a kernel,
and their labs run at once; they are left alone, each in a kernel of its own, where a browser looks
at them (tests/browser/test_voila.py)."""

from __future__ import annotations

import ast
import os
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbval.plugin import IPyNbCell, IPyNbFile

WIDE = 100
"""Letters of a printed line that a narrow page, 1024 pixels, shows without breaking a word."""
SYNC = "import os; os.environ['MPKIT_SYNC'] = '1'"
ALL_RAN = """
alone = [name for name, value in list(globals().items()) if not name.startswith("_")
         if getattr(getattr(value, "runner", value), "mode", None) == "thread"]
assert not alone, alone
"""
NONE_FAILED = """
import gc as _gc
from mpkit.lab.kit.runner import Runner as _Runner
_errors = [each.error for each in _gc.get_objects() if type(each) is _Runner and each.error]
assert not _errors, _errors
"""
"""A lab that fails tells it in its panel, and its cell ends as if nothing had been."""
RUNS = ("Lab", "Board", "SpotThePoison")
"""How the names of what runs, or is played, end."""
DEFINED = ast.FunctionDef | ast.ClassDef
KEPT = tempfile.TemporaryDirectory(prefix="mpkit-progress-")
"""Where the notebooks keep what was solved; nothing of the user's."""


def with_labs(sources: list[str]) -> list[int]:
    """Which cells make a lab, or read what such a cell has bound or defined."""
    found, bound = [], set()
    for place, source in enumerate(sources):
        nodes = list(ast.walk(ast.parse(source)))
        names = [node for node in nodes if isinstance(node, ast.Name)]
        read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        if read & bound or any(name.endswith(RUNS) for name in read):
            found.append(place)
            bound |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
            bound |= {node.name for node in nodes if isinstance(node, DEFINED)}
    return found


class Notebook(IPyNbFile):
    def like(self, item: IPyNbCell, name: str, source: str) -> IPyNbCell:
        """A cell more, as `item` is."""
        cell, known = nbformat.v4.new_code_cell(source), {"options": item.options}
        return IPyNbCell.from_parent(self, name=name, cell_num=item.cell_num, cell=cell, **known)


class Chapter(Notebook):
    """The cells of a chapter, those with labs once more, and its page."""

    def setup(self):
        os.environ["MPKIT_PROGRESS"] = str(Path(KEPT.name) / f"{self.path.stem}.json")
        super().setup()

    def collect(self):
        alone = list(super().collect())
        again = with_labs([item.cell.source for item in alone])
        yield from alone
        yield self.like(alone[0], "labs run to their end from here on", SYNC)
        ran = [self.like(alone[i], f"Cell {i}, its lab run", alone[i].cell.source) for i in again]
        yield from ran
        yield self.like(alone[0], "no lab is left alone", ALL_RAN + NONE_FAILED)
        yield Page.from_parent(self, name="page", alone=alone, ran=ran)


class Page(pytest.Item):
    """What a chapter's cells put out, as a page."""

    def __init__(self, *, alone, ran, **given):
        super().__init__(**given)
        self.alone, self.ran = alone, ran

    def runtest(self):
        for item in self.alone + self.ran:
            item.cell.outputs = item.test_outputs
        book = self.parent.nb.copy()
        book.cells = book.cells + [item.cell for item in self.ran]
        page, _ = HTMLExporter().from_notebook_node(book)
        assert "Traceback" not in page, "the page tells of an error"
        outputs = [out for cell in book.cells for out in cell.get("outputs", ())]
        printed = "".join(out.text for out in outputs if out.output_type == "stream")
        wide = [line for line in printed.splitlines() if len(line) > WIDE]
        assert not wide, wide

    def repr_failure(self, excinfo):
        return str(excinfo.value) or super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}::{self.name}"


class Lecture(Notebook):
    """A page for lecturers, in a kernel that all have."""

    shared = None

    def collect(self):
        cells = list(super().collect())
        yield from cells
        yield self.like(cells[0], "no lab has failed", NONE_FAILED)

    def setup(self):
        if Lecture.shared is None:
            super().setup()
            Lecture.shared = self.kernel
            self.kernel.kc.execute_interactive(SYNC)
        self.kernel = Lecture.shared
        self.kernel.kc.execute_interactive("%reset -f")  # what another page has imported

    def teardown(self):
        """The next page has the kernel."""


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    found = yield
    kind = Lecture if file_path.parent.name == "lecture" else Chapter
    return [
        kind.from_parent(parent, path=file_path) if isinstance(each, IPyNbFile) else each
        for each in found
    ]


def pytest_unconfigure():
    if Lecture.shared is not None:
        Lecture.shared.stop()
    KEPT.cleanup()
