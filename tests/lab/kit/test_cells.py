"""Running a cell again closes what it left running."""

from __future__ import annotations

from typing import ClassVar

import pytest

from mpkit.lab.kit.cells import _owners, claim, here
from mpkit.lab.kit.runner import Phase
from tests.lab.kit.conftest import lab_threads, until

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def test_running_a_cell_again_leaves_one_thread(made):
    first, second, other = made(), made(), made()
    claim("cell", 1, first)
    claim("another cell", 1, other)
    first.run(), other.run()
    until(lambda: first.steps and other.steps)
    claim("cell", 2, second)
    second.run()
    until(lambda: len(lab_threads()) == 2)
    assert first.phase is Phase.STOPPED
    count = first.steps
    until(lambda: second.steps > 3 and other.steps > 3)
    assert first.steps == count


def test_two_panels_of_one_execution_live_side_by_side(made):
    one, two = made(), made()
    claim("a cell", 1, one)
    claim("a cell", 1, two)
    one.run(), two.run()
    until(lambda: one.steps > 3 and two.steps > 3)


def test_outside_a_notebook_every_panel_has_a_place_of_its_own(made, monkeypatch):
    one, two = here(), here()
    assert one != two
    first, second = made(), made()
    claim(*one, first)
    claim(*two, second)
    first.run(), second.run()
    until(lambda: first.steps > 3 and second.steps > 3)


@pytest.fixture
def shell(monkeypatch):
    """A kernel's shell, of which the tests say what it was asked."""

    class Shell:
        parent: ClassVar[dict] = {}

        def get_parent(self):
            return self.parent

    monkeypatch.setattr("IPython.get_ipython", Shell)
    return Shell


def test_where_cells_are_not_told_apart_all_labs_live(made, shell):
    labs = []
    for message in "78":  # as Voilà, papermill and the classic Notebook send them
        shell.parent = {"metadata": {}, "header": {"msg_id": message}}
        labs.append(made())
        claim(*here(), labs[-1])
        labs[-1].run()
    until(lambda: all(lab.steps > 3 for lab in labs))
    assert [lab.phase for lab in labs] == [Phase.RUNNING] * 2


def test_places_that_nobody_comes_to_again_are_not_kept(made):
    before = len(_owners)
    claim("no notebook, 7", None, made())
    assert len(_owners) == before


def test_in_a_notebook_the_place_is_the_cell_and_its_execution(shell):
    shell.parent = {"metadata": {"cellId": "cell 3"}, "header": {"msg_id": "7"}}
    assert here() == ("cell 3", "7")
    for parent in ({"header": {"msg_id": "8"}}, {"metadata": {}, "header": {"msg_id": "8"}}, {}):
        shell.parent = parent
        assert here()[1] is None
