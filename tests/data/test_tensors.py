"""Tensors in a file, with a checksum."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from mpkit.data import files
from mpkit.data.tensors import MAX_HEADER, SUM, pack, texts, unpack

SOME = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([7]), "none": torch.zeros(0)}


@pytest.fixture
def path(tmp_path):
    files.write(tmp_path / "x.safetensors", pack(SOME, {"step": "3", "more": "é"}))
    return tmp_path / "x.safetensors"


def test_tensors_come_back_and_others_can_read_them(path):
    found, about = unpack(path, 1 << 20)
    assert about == {"step": "3", "more": "é"}
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in SOME.items()}
    assert texts(path)["step"] == "3"
    with safe_open(path, "pt") as file:
        assert file.metadata()["step"] == "3"
        assert torch.equal(file.get_tensor("b"), SOME["b"])
    assert pack(SOME, about) == path.read_bytes()


def test_any_change_is_seen(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 64):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            try:
                found, about = unpack(path, 1 << 20)
            except (ValueError, safetensors.SafetensorError):
                continue
            # All that may pass is what says the same: a space that became another, or the name of
            # the checksum itself, as if it were of an earlier mpkit.
            same = all(torch.equal(found[k], v) for k, v in SOME.items())
            assert same, (place, bit)
            assert about["step"] == "3"


def test_an_earlier_file_without_a_checksum_is_read(path):
    path.write_bytes(safetensors.torch.save(SOME, {"step": "3"}))
    assert unpack(path, 1 << 20)[1] == {"step": "3"}
    path.write_bytes(safetensors.torch.save(SOME, {"step": "3", SUM: "0" * 64}))
    with pytest.raises(ValueError, match="checksum"):
        unpack(path, 1 << 20)


@pytest.mark.parametrize(
    "blob",
    [b"", b"\x01", b"\xff" * 9, (MAX_HEADER + 1).to_bytes(8, "little") + b" " * (MAX_HEADER + 1),
     (2).to_bytes(8, "little") + b"[]",
     (30).to_bytes(8, "little") + b'{"__metadata__":{"a":[1]}}    ',
     (100_000).to_bytes(8, "little") + b'{"a":' * 20_000],
)  # fmt: skip
def test_what_is_no_such_file_is_refused(blob, path):
    path.write_bytes(blob)
    with pytest.raises(ValueError, match=r"cut off|no safetensors|can be read|deeply|delimiter"):
        unpack(path, 1 << 26)
    with pytest.raises(ValueError, match=r"."):
        texts(path)


def test_a_file_that_is_too_large_is_not_read(path):
    with pytest.raises(OSError, match="more than the 9 bytes"):
        unpack(path, 9)
