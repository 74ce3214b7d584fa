"""Nine hundred pictures of clothes, shoes and bags, which ship with mpkit in one PNG file.

They are part of Fashion-MNIST: Xiao, Rasul and Vollgraf, 2017, https://arxiv.org/abs/1708.07747;
data/README.md has more.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np

from mpkit.data.archives import DataError
from mpkit.data.pictures import Pictures
from mpkit.data.places import SHIPPED

SPRITE = SHIPPED / "fashion" / "fashion-mnist-sprite.png"
SHA256 = "a7de0a151f8c68e6e96f157a018ac290d1f6b0e7845892c3d7d85cb64961c3cb"
CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
SIDE = 28  # pixels a side
EACH = 90  # pictures of a class: three rows of thirty
TRAIN = 60  # of them, the first ones; the others are to test on


def read() -> Pictures:
    """The pictures in the file, grey, (900, 1, SIDE, SIDE): 60 of a class to train, 30 to test.

    Raises DataError for a file that is not there or not the one that ships.
    """
    way_out = (
        "It ships with mpkit's source code: fetch that again, with its folder data/ beside mpkit/, "
        "or use 'digits', 'signs' or a folder of your own"
    )
    try:
        blob = SPRITE.read_bytes()
    except OSError as error:
        raise DataError(f"the pictures of 'fashion' cannot be read: {error}. {way_out}") from error
    if (found := hashlib.sha256(blob).hexdigest()) != SHA256:
        wrong = f"its sha256 is {found} and must be {SHA256}"
        raise DataError(f"{SPRITE} is damaged: {wrong}. {way_out}")
    from PIL import Image

    with Image.open(io.BytesIO(blob), formats=("PNG",)) as image:
        sheet = np.asarray(image)[:, :, 0]  # grey: the first three channels are one
    across = sheet.shape[1] // SIDE
    grid = sheet.reshape(-1, SIDE, across, SIDE).transpose(0, 2, 1, 3)
    by_class = grid.reshape(len(CLASSES), EACH, 1, SIDE, SIDE)
    parts = (by_class[:, :TRAIN], by_class[:, TRAIN:])
    pixels = np.concatenate([part.reshape(-1, 1, SIDE, SIDE) for part in parts])
    return Pictures(pixels, CLASSES, *((part.shape[1],) * len(CLASSES) for part in parts))
