"""Tensors in a file with a checksum of all that is in it, read only if they are as they were."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from torch import Tensor

from mpkit.data import files
from mpkit.data.schema import parsed

MAX_HEADER = 1 << 24
"""Bytes of what a file says of its tensors, before the numbers themselves."""
SUM = "sha256"


def pack(tensors: dict[str, Tensor], about: dict[str, str]) -> bytes:
    """A safetensors file: tensors, and texts about them, the checksum of both among these. The same
    tensors give the same bytes."""
    from safetensors.torch import save

    header, body = _parts(save(tensors))
    # Written here, as safetensors orders several texts anew in every process.
    texts = about | {SUM: _sum(header, about, body)}
    text = json.dumps({"__metadata__": texts} | header, separators=(",", ":"), allow_nan=False)
    blob = text.encode()
    blob += b" " * (-len(blob) % 8)
    return len(blob).to_bytes(8, "little") + blob + body


def unpack(
    path: Path, most: int, must_seal: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and texts of a plain file of at most `most` bytes. One without a checksum, of an
    earlier mpkit, is taken as it is, unless it must have one. Raises OSError, ValueError and
    SafetensorError."""
    return unpacked(files.read(path, most), must_seal)


def unpacked(blob: bytes, must_seal: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """`unpack`, of a file's bytes."""
    from safetensors.torch import load

    header, body = _parts(blob)
    about = _about(header)
    tensors = load(blob)  # which checks the header against the bytes
    told = about.pop(SUM, None)
    if (told is not None or must_seal) and told != _sum(header, about, body):
        raise ValueError("its checksum is another one")
    return tensors, about


def texts(path: Path) -> dict[str, str]:
    """What a file says of its tensors, without reading them. Raises OSError and ValueError."""
    with open(files.opened(path, os.O_RDONLY), "rb") as file:
        header, _ = _parts(file.read(8 + MAX_HEADER))
    return _about(header)


def _parts(blob: bytes) -> tuple[dict, memoryview]:
    """The header without its texts, and the numbers. Raises ValueError."""
    length = int.from_bytes(blob[:8], "little")
    if len(blob) < 8 or length > min(MAX_HEADER, len(blob) - 8):
        raise ValueError("it is cut off, or no safetensors file")
    header = parsed(blob[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("it is no safetensors file")
    return header, memoryview(blob)[8 + length :]


def _about(header: dict) -> dict[str, str]:
    """The texts, taken out of the header. Raises ValueError."""
    about = header.pop("__metadata__", None) or {}
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise ValueError("it says nothing that can be read")
    return about


def _sum(header: dict, about: dict[str, str], body: memoryview) -> str:
    told = json.dumps([header, about], sort_keys=True, allow_nan=False)
    found = hashlib.sha256(told.encode())
    found.update(body)
    return found.hexdigest()
