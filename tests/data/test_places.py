"""Where things are kept."""

from __future__ import annotations

from pathlib import Path

from mpkit.data import cache_folder, places


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("~/here") == tmp_path / "here"
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "there"))
    assert cache_folder() == tmp_path / "there"
    assert cache_folder("here") == Path("here")
    monkeypatch.delenv("MPKIT_DATA")
    monkeypatch.setattr(places, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
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
