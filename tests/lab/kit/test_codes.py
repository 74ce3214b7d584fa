"""Share codes of attacks name their data, and old ones that do not still mean what they meant."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from mpkit.data import datasets
from mpkit.lab import CollisionLab, CraftLab, DynamicsLab, VictimsLab
from mpkit.lab.kit.codes import attack_of, refuse_absent
from mpkit.runs import saved, share
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.share import ShareError, attack_code, decode
from mpkit.settings import Settings
from tests.lab.conftest import said, small_attack

pytestmark = pytest.mark.usefixtures("unpainted")

# Made when the digits were the default and a code left the default's name out.
OLD = [
    ("craft", "mpkit1.craft.eNqrrgUAAXUA-Q.5b758d0c", Attack("digits", target_index=(0,))),
    (
        "craft",
        "mpkit1.craft.eNo9zE0KgCAURtG9fGMJTcufzYSUiCAqPWfi3qtJwwuHO9BqolqOM3siOBgwUOg9lfjmQGiUci1w"
        "fOHaKCmkXjdlubD7B8MFpyZD93cM_b9IzAccsRvK.8238a8dd",
        make_attack(
            "laptop",
            data="digits",
            target_index=(0,),
            target_class="3",
            poison_class="8",
            seed=4,
            epsilon=20 / 255,
        ),
    ),
    (
        "victims",
        "mpkit1.victims.eNptjDEKgDAMRe-SuYOKIniZUmLUgNrSBAeldzcOOrnl5b__L0iRJe4e1yACA_TgQEiV99nwAsxh"
        "Ui9KybCuHGxxpNXu1kEm5ESPRSni8ghdKdbn076NyRryTPqN1zZ-MCpv_rf7pkZNuQHXRDOZ.4c19c04c",
        make_attack(
            "laptop",
            data="digits",
            target_index=(0,),
            target_class="1",
            poison_class="7",
            models=4,
            craft_steps=10,
            epochs=15,
            victims=2,
            size=20,
        ),
    ),
    (
        "dynamics",
        "mpkit1.dynamics.eNpFzMEOgjAQhOF3mfPGtFBE9mVMtZU0WVvDlhPpuwsH8TaHb_4NwVcPhqY5KwjiH-AN8aNJSgbn"
        "VYSgMQawbceqNeVZD_Rc_Kvete4Y7Az9X-ZixpvrbT92g5uMna6EdwlRdmh_uY6w5qWInInWviHzLbc.a8020796",
        make_attack(
            "laptop",
            data="signs",
            target_index=(0,),
            fine_tune="no",
            models=1,
            craft_steps=40,
            epsilon=20 / 255,
            unroll_steps=4,
            seed=2,
        ),
    ),
]


@pytest.fixture(params=["digits", "signs"])
def default(request, monkeypatch) -> str:
    """The default data set, as it is, was or may become."""

    class Other(Attack):
        def __init__(self, data: str = request.param, **given):
            super().__init__(data, **given)

    monkeypatch.setattr(share, "Attack", Other)
    monkeypatch.setattr(saved, "Attack", Other)
    return request.param


@pytest.mark.parametrize(("kind", "code", "meant"), OLD, ids=["all", "craft", "victims", "signs"])
def test_old_codes_mean_what_they_meant(kind, code, meant, default):
    found, _ = attack_of(kind, code, seed=0, epsilon=None)
    assert saved.to_dict(found) == saved.to_dict(meant)


@pytest.mark.parametrize("data", ["digits", "signs"])
def test_new_codes_name_their_data_and_are_short_all_the_same(data, default):
    code = attack_code("craft", dataclasses.replace(Attack(data), settings=Settings(seed=3)))
    by_rule = {"target_index": None}  # no code of before could say so
    assert decode("craft", code) == {"data": data, "settings": {"seed": 3}} | by_rule
    assert attack_of("craft", code)[0].data == data


# ── a code fetches nothing ────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path))

    def fetch(*_, **__):
        raise AssertionError("this would be a download of 162 MiB")

    monkeypatch.setattr("mpkit.data.cifar10.fetch", fetch)


@pytest.mark.parametrize("kind", [CraftLab, CollisionLab, DynamicsLab, VictimsLab])
def test_a_code_of_data_that_are_not_here_is_not_taken(kind, small, no_network):
    lab = small(kind)
    before = lab.code()
    for data, words in (
        ("cifar10", ("CIFAR-10", "162 MiB", "mpkit fetch cifar10")),
        ("/no/such/folder", ("/no/such/folder", "nothing here")),
        ("", ("pictures at", "nothing here")),
    ):
        own = lab.own()
        lab._use(attack_code(lab.name, dataclasses.replace(small_attack(), data=data), **own))
        assert all(word in said(lab) for word in words)
        assert lab.code() == before
        assert "\n" not in said(lab)


def test_an_archive_counts_only_if_it_is_the_right_one(no_network, tmp_path, monkeypatch):
    with pytest.raises(ShareError, match="CIFAR-10"):
        refuse_absent("cifar10")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"cut off")  # would be fetched again
    with pytest.raises(ShareError, match="CIFAR-10"):
        refuse_absent("cifar10")
    monkeypatch.setattr(datasets.cifar10, "SHA256", hashlib.sha256(b"cut off").hexdigest())
    refuse_absent("cifar10")


def test_pictures_that_are_here_are_taken(tmp_path):
    for data in ("digits", "signs", "fashion", str(tmp_path)):
        refuse_absent(data)
