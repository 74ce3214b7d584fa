"""Where things are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpkit.data import cache_folder, load_dataset, places
from mpkit.finetuning import load_weights
from mpkit.lab.kit.codes import refuse_absent
from mpkit.lab.replay import find


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("~/here") == tmp_path / "here"
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "there"))
    assert cache_folder() == tmp_path / "there"
    assert cache_folder("here") == Path("here")
    monkeypatch.delenv("MPKIT_DATA")
    monkeypatch.setattr(places, "CHECKOUT", tmp_path / "checkout")
    assert cache_folder() == tmp_path / ".cache/mpkit"
    (tmp_path / "checkout/data").mkdir(parents=True)
    (tmp_path / "checkout/data/README.md").touch()
    (tmp_path / "checkout/pyproject.toml").touch()
    assert cache_folder() == (tmp_path / "checkout/data").resolve()


def test_what_ships_lies_beside_the_package():
    assert places.SHIPPED == places.CHECKOUT / "data"
    assert (places.SHIPPED / "README.md").is_file()
    assert (places.CHECKOUT / "mpkit" / "data" / "places.py").is_file()


def test_an_empty_name_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path))
    assert cache_folder("") == tmp_path
    monkeypatch.setenv("MPKIT_DATA", "")
    assert cache_folder() == places.CHECKOUT / "data"


NOBODY = "~no-such-user/pictures"


@pytest.mark.parametrize(
    "use",
    [places.at, cache_folder, load_dataset, load_weights, refuse_absent, find],
    ids=lambda use: use.__name__,
)
def test_the_home_of_nobody_is_refused_in_words(use):
    with pytest.raises(ValueError, match="no home folder ~no-such-user here; write the path in"):
        use(NOBODY)


def test_who_has_no_home_is_told_what_to_set(no_home, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="no home folder ~ here; write the path in full"):
        places.at("~/pictures")
    monkeypatch.setattr(places, "CHECKOUT", tmp_path)
    monkeypatch.delenv("MPKIT_DATA")
    with pytest.raises(ValueError, match="set MPKIT_DATA to a folder"):
        cache_folder()


def test_a_path_is_quoted_as_the_systems_shell_wants_it(monkeypatch):
    monkeypatch.setattr(places.os, "name", "nt")
    assert places.quoted(r"runs\my run") == r'"runs\my run"'
    assert places.quoted(r"runs\1") == r"runs\1"
    monkeypatch.setattr(places.os, "name", "posix")
    assert places.quoted("runs/my run") == "'runs/my run'"
