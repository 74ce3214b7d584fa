"""What stands behind road signs."""

from __future__ import annotations

import numpy as np

from mpkit.data import scenery


def test_backgrounds_are_colours_and_are_varied():
    u = np.random.Generator(np.random.PCG64(0)).random((60, scenery.NUMBERS))
    seen = scenery.backgrounds(u)
    assert seen.shape == (60, 3, 32, 32)
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert seen.std(0).mean() > 0.12  # from picture to picture
    assert seen.std((2, 3)).mean() > 0.05  # within a picture
    for extreme in (0.0, 1 - 2**-53):
        flat = scenery.backgrounds(np.full((1, scenery.NUMBERS), extreme))
        assert np.isfinite(flat).all()
        assert flat.min() >= 0
        assert flat.max() <= 1
