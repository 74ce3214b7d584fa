"""Running a cell again closes what it left running."""

from __future__ import annotations

import pytest

from mpkit.lab.kit.cells import ANY, _owners, claim, here
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


def test_where_cells_are_not_told_apart_panels_only_stop(made):
    class Panel:
        def __init__(self):
            self.runner, self.closed = made(), []

        def close(self, timeout=None):
            self.closed.append(timeout)

    for place, closed in ((ANY, []), ("a cell of its own", [0])):
        panel = Panel()
        claim(place, 1, panel)
        panel.runner.run()
        claim(place, 2, Panel())
        assert panel.closed == closed
        assert (panel.runner.phase is Phase.STOPPED) is (place == ANY)


def test_places_that_nobody_comes_to_again_are_not_kept(made):
    before = len(_owners)
    claim("no notebook, 7", None, made())
    assert len(_owners) == before


def test_in_a_notebook_the_place_is_the_cell_and_its_execution(monkeypatch):
    class Shell:
        parent = {"metadata": {"cellId": "cell 3"}, "header": {"msg_id": "7"}}  # noqa: RUF012

        def get_parent(self):
            return self.parent

    monkeypatch.setattr("IPython.get_ipython", Shell)
    assert here() == ("cell 3", "7")
    monkeypatch.setattr(Shell, "parent", {"header": {"msg_id": "8"}})
    assert here() == ("no cell", "8")
    monkeypatch.setattr(Shell, "parent", {})
    assert here()[1] is None
