"""What every chapter keeps to: its parts, its lengths, its words for those who cannot see."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

from mpkit.course.exercises import EXERCISES
from tests.conftest import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))

for path in CHAPTERS:  # which registers its exercises
    importlib.import_module(f"mpkit.course.ch{path.name[:2]}")

PARTS = (
    "Change one thing", "What a defender could do", "Recap", "Three questions", "References",
)  # fmt: skip

FOLDED = {"jupyter": {"source_hidden": True}}
"""Metadata of a cell whose code is not shown until it is asked for."""


class Book:
    """A notebook's cells as text."""

    def __init__(self, path: Path):
        self.path, self.chapter = path, path.name[:2]
        self.notebook = json.loads(path.read_text("utf-8"))
        self.cells = self.notebook["cells"]
        self.code = ["".join(c["source"]) for c in self.cells if c["cell_type"] == "code"]
        self.words = ["".join(c["source"]) for c in self.cells if c["cell_type"] == "markdown"]

    def headings(self) -> list[tuple[int, str]]:
        text = re.sub(r"```.*?```", "", "\n\n".join(self.words), flags=re.DOTALL)
        found = re.findall(r"^(#+) +(.+)$", text, flags=re.MULTILINE)
        return [(len(marks), title) for marks, title in found]


@pytest.fixture(params=CHAPTERS, ids=lambda p: p.stem)
def book(request) -> Book:
    return Book(request.param)


def skipped(headings: list[tuple[int, str]]) -> list[str]:
    """Headings that are more than a level under the one before."""
    levels = [0] + [level for level, _ in headings]
    return [t for (level, t), before in zip(headings, levels, strict=False) if level > before + 1]


def without_alt(text: str) -> list[str]:
    """Pictures in Markdown or HTML that say nothing to those who cannot see them."""
    bare = re.findall(r"!\[\s*\]\([^)]*\)", text)
    return bare + [
        tag for tag in re.findall(r"<img\b[^>]*>", text) if not re.search(r'alt="[^"]+"', tag)
    ]


def dangling(text: str, folder: Path) -> list[str]:
    """Links to files of the project that are not there."""
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text)
    own = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    return [link for link in own if link and not (folder / link).exists()]


def test_there_are_all_chapters():
    assert [p.name[:2] for p in CHAPTERS] == [f"{i:02}" for i in range(9)]


def test_length(book):
    assert 25 <= len(book.cells) <= 40
    for source in book.code:
        without = re.sub(r"import \([^)]*\)", "import …", source)  # one line, however long
        assert sum(bool(line.strip()) for line in without.splitlines()) < 15, source


def test_headings(book):
    headings = book.headings()
    assert headings[0][0] == 1
    assert headings[0][1].endswith("?")
    assert sum(level == 1 for level, _ in headings) == 1
    assert not skipped(headings)
    titles = [title for _, title in headings]
    assert [t for t in titles if t in PARTS] == list(PARTS)
    own = [title for title in titles if title != "Predict"]
    assert len(own) == len(set(own))  # nothing stands there twice


def test_the_card(book):
    before = [c["cell_type"] for c in book.cells].index("code")
    card = "\n".join(book.words[:before])
    for row in ("**Time**", "**You need**", "**At the end you can**"):
        assert row in card
    objectives = card.split("**At the end you can**")[1].split("\n")[0]
    assert objectives.count("·") >= 2
    assert re.search(r"^SEED = 0$", book.code[0], flags=re.MULTILINE)
    begin = rf'^begin\("{book.chapter}", seed=SEED, ci=.*laptop='
    assert re.search(begin, book.code[0], flags=re.MULTILINE)


def test_the_first_chapter_opens_with_its_result_and_not_with_imports():
    """A sentence and a picture under the title; whatever else comes after them."""
    first = Book(CHAPTERS[0]).words[0]
    title, sentence, picture, *_ = first.split("\n\n")
    assert title.startswith("# ")
    assert re.fullmatch(r"\*\*[^*]+[.]\*\*", sentence.replace("\n", " "))
    assert sentence.count(".") == 1
    assert re.match(r'<img src="pictures/\w+\.png" width="\d+" alt="', picture)
    assert "**Time**" not in first


def test_pictures_have_words_and_links_lead_somewhere(book):
    text = "\n".join(book.words)
    assert not without_alt(text)
    assert not dangling(text, book.path.parent)


def test_nothing_of_a_run_or_a_tool_is_stored(book):
    assert set(book.notebook["metadata"]) == {"kernelspec", "language_info"}
    assert book.notebook["metadata"]["language_info"] == {"name": "python"}
    assert all(c["metadata"] in ({}, FOLDED) for c in book.cells)


def test_the_set_up_is_folded_and_nothing_else_is(book):
    folded = ["".join(c["source"]) for c in book.cells if c["metadata"] == FOLDED]
    assert len(folded) == 1
    assert re.search(r"^begin\(", folded[0], flags=re.MULTILINE)


def test_exercises_are_stubs_with_a_check_and_hints(book):
    code = "\n".join(book.code)
    own = {name for name in EXERCISES if name.startswith(book.chapter)}
    assert len(own) >= 3
    assert set(re.findall(r'check\("([\w.]+)"', code)) == own
    assert set(re.findall(r'hint\("([\w.]+)"', code)) == own
    exercises = [t for _, t in book.headings() if t.startswith("Exercise ")]
    assert len(exercises) == len(own)
    for number, title in enumerate(exercises, 1):
        assert re.fullmatch(rf"Exercise {number} · .+ \(\d+ minutes\)", title)
    for source in book.code:
        if call := re.search(r'check\("[\w.]+", (\w+)\)', source):
            assert stub(source, call[1]), source


def shapes(code: str) -> set[str]:
    """The larger expressions of some code, whatever its names are."""
    found = set()
    for node in ast.walk(Nameless().visit(ast.parse(code))):
        if isinstance(node, ast.expr) and sum(1 for _ in ast.walk(node)) >= 12:
            found.add(ast.dump(node))
    return found


class Nameless(ast.NodeTransformer):
    """All names alike, and a product of names like a name."""

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name("_", ast.Load())

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        parts = isinstance(node.left, ast.Name) and isinstance(node.right, ast.Name)
        return node.left if parts and isinstance(node.op, ast.Mult) else node


REACH = 6
"""Cells that stand on the screen together with an exercise."""


def test_no_exercise_has_its_answer_on_the_same_screen(book):
    sources = [
        "".join(c["source"]) if c["cell_type"] == "code" else "" for c in book.notebook["cells"]
    ]
    for place, source in enumerate(sources):
        if not (call := re.search(r'check\("([\w.]+)"', source)):
            continue
        answer = shapes(EXERCISES[call[1]].solution)
        near = sources[max(0, place - REACH) : place + REACH + 1]
        for other in near:
            assert not answer & shapes(other), f"{call[1]} is answered by:\n{other}"


def test_students_cells_hold_no_words_to_a_tool(book):
    for source in book.code:
        assert not re.search(r"#\s*(noqa|fmt:|type: ignore|pragma)", source), source


def stub(source: str, name: str) -> bool:
    """Whether `name` is None in these lines, or a function that returns None and never raises."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            last = node.body[-1]
            return isinstance(last, ast.Return) and ast.unparse(last) in ("return None", "return")
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.unparse(node.value) == "None"
    return False


def test_what_one_should_see_is_said(book):
    assert sum("**What you should see:**" in words for words in book.words) >= 3


def test_cells_can_fail(book):
    asserting = [s for s in book.code if re.search(r"^\s*assert ", s, flags=re.MULTILINE)]
    assert len(asserting) >= 3


def test_the_rules_can_be_broken(tmp_path):
    assert skipped([(1, "a"), (3, "b"), (2, "c")]) == ["b"]
    assert without_alt("![](x.png) ![ok](y.png) <img src='z'>") == ["![](x.png)", "<img src='z'>"]
    (tmp_path / "there.md").touch()
    assert dangling("[a](there.md#x) [b](gone.md) [c](https://x.y)", tmp_path) == ["gone.md"]
    assert dangling('<img src="there.md"><img src="gone.png" alt="x">', tmp_path) == ["gone.png"]
    assert stub("x = None", "x")
    assert not stub("x = 3", "x")
    assert stub("def f(a):\n    return None\n", "f")
    assert not stub("def f(a):\n    return a\n", "f")
    step = "slopes = grad(lambda p: loss(network(p, x), y))(params)"
    assert shapes(step) & shapes(step.replace("p", "weights").replace("x", "points"))
    assert not shapes(step) & shapes("slopes = grad(loss)(params)")
    assert shapes("((x + w * b) / (1 + w)).clamp(0, 1)") == shapes(
        "((z + beta * r * base) / (1 + beta * r)).clamp(0, 1)"
    )


@pytest.mark.parametrize(
    "name", ["README.md", "data/README.md", "notebooks/INSTRUCTORS.md", "docs/many-students.md"]
)
def test_the_guides_have_words_for_pictures_and_links_that_lead_somewhere(name):
    path = ROOT / name
    text = path.read_text("utf-8")
    assert not without_alt(text)
    assert not dangling(text, path.parent)
    headings = re.findall(r"^(#+) +(.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    assert not skipped([(len(marks), title) for marks, title in headings])


def test_the_instructors_guide_answers_every_exercise():
    text = (ROOT / "notebooks" / "INSTRUCTORS.md").read_text("utf-8")
    answered = re.findall(r"^\| (\d\d\.\w+) \|", text, flags=re.MULTILINE)
    assert sorted(answered) == sorted(EXERCISES)


def test_the_readme_lists_every_chapter():
    text = (ROOT / "README.md").read_text("utf-8")
    for path in CHAPTERS:
        question = next(title for level, title in Book(path).headings() if level == 1)
        assert f"[{path.stem}](notebooks/{path.name})" in text
        assert question in text
