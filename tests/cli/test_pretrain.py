"""``mpkit pretrain``: weights that an attack then takes."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import call, flags, refused


def test_weights_are_made_and_fine_tuned(tmp_path):
    file = tmp_path / "w.safetensors"
    made = ("pretrain", "--data", "fashion", "--pictures", "40", "--epochs", "1", "--out", file)
    said = call(*made)
    assert said.code == 0, said
    assert said.out.startswith(f"{file}: accuracy ")
    again = refused(*made)
    assert "is there already" in again
    run = tmp_path / "run"
    said = call("attack", *flags(data="fashion"), "--fine-tune", "last", "--weights", file,
                "--network", "convnet-small", "--out", run)  # fmt: skip
    assert said.code == 0, said
    kept = json.loads((run / "settings.json").read_text())["attack"]
    assert (kept["fine_tune"], kept["weights"]) == ("last", str(file))


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--pictures 5000", "from 10 to 600, not 5000"),
        ("--pictures 20 --epochs 0", "epochs"),
        ("--data x", "x"),
    ],
)
def test_pretraining_that_will_not_do_is_refused(flag, words, tmp_path):
    given = ["--data", "fashion", *flag.split(), "--out", tmp_path / "w.safetensors"]
    assert words in refused("pretrain", *given)
    assert not list(tmp_path.iterdir())
    assert "must end in .safetensors" in refused("pretrain", "--data", "fashion", "--out", "w.pt")
