"""CIFAR-10 from its official binary archive: fetched once, verified, never unpacked, no pickle.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html describes the format.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpkit.data.archives import DataError, read_members
from mpkit.data.layout import SPLITS
from mpkit.data.pictures import Pictures, check_classes

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
NAMES = "batches.meta.txt"
RECORD = 1 + 3 * 32 * 32  # bytes: the label; then red, green and blue, each row by row


def fetch(folder: Path, progress: bool = True) -> Path:
    """Fetch the archive (162 MiB) into `folder` unless it is there; give its verified path.

    It takes its place only once its SHA-256 is right.

    Raises DataError without network or pooch, for a wrong checksum, or an unwritable folder.
    """
    try:
        import pooch
        import requests
    except ImportError as error:
        raise DataError("fetching CIFAR-10 takes pooch: pip install pooch") from error
    path = folder / URL.rpartition("/")[2]
    way_out = (
        f"Try again later, or put the archive (sha256 {SHA256}) at {path} by hand, "
        "or use 'digits' or a folder of your own"
    )
    loader = pooch.HTTPDownloader(progressbar=progress)
    try:
        pooch.retrieve(URL, f"sha256:{SHA256}", path.name, path.parent, downloader=loader)
    except requests.RequestException as error:
        raise DataError(f"no network, or none to {URL}: {error}. {way_out}") from error
    except ValueError as error:  # pooch has deleted what it fetched, so that a retry starts afresh
        raise DataError(f"{URL} came with a wrong checksum: {error} {way_out}") from error
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error}. Set MPKIT_DATA, or cache=, to a folder with 400 MB of "
            "room that you may write to"
        ) from error
    return path


def read(archive: Path) -> Pictures:
    """The pictures in the archive: by class, and within a class in the official order.

    Raises DataError for an archive that is damaged, unsafe or not CIFAR-10 in binary.
    """
    needed = [*BATCHES["train"], *BATCHES["test"], NAMES]
    members = read_members(archive, lambda name: name.rpartition("/")[2] in needed)
    blobs = {name.rpartition("/")[2]: blob for name, blob in members if blob}
    if missing := [name for name in needed if name not in blobs]:
        raise DataError(f"{archive} lacks {', '.join(missing)}: delete it and fetch it again")
    names = tuple(blobs[NAMES].decode().split())
    pixels, counts = [], {}
    for split in SPLITS:
        raw = np.frombuffer(b"".join(blobs.pop(name) for name in BATCHES[split]), np.uint8)
        if len(raw) % RECORD or raw[::RECORD].max() >= len(names):
            raise DataError(f"{archive} is not CIFAR-10 in binary: delete it and fetch it again")
        raw = raw.reshape(-1, RECORD)
        labels = raw[:, 0]
        pixels.append(raw[np.argsort(labels, kind="stable"), 1:].reshape(-1, 3, 32, 32))
        number = np.bincount(labels, minlength=len(names)).tolist()
        counts[split] = dict(zip(names, number, strict=True))
    check_classes(str(archive), counts)
    return Pictures(np.concatenate(pixels), names, *(tuple(counts[s].values()) for s in SPLITS))
