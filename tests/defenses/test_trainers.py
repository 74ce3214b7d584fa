"""Tests of mpkit.defenses.trainers."""

import io

import numpy as np
import torch
from PIL import Image

from mpkit.defenses.trainers import jpeg_pictures


def test_pictures_come_back_as_from_a_jpeg_file():
    x = torch.randint(0, 256, (2, 3, 8, 8)).float() / 255
    file = io.BytesIO()
    levels = (255 * x[1]).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(file, "JPEG", quality=40)
    there = torch.tensor(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
    assert torch.equal(jpeg_pictures(x, 40)[1], there)
    assert jpeg_pictures(x[:, :1], 40).shape == (2, 1, 8, 8)
