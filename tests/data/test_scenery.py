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


def numbers(count: int, seed: int = 1) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).random((count, scenery.NUMBERS))


def test_a_background_depends_on_its_own_numbers_alone():
    u = numbers(5)
    together = scenery.backgrounds(u)
    for i in range(5):
        assert (scenery.backgrounds(u[i : i + 1])[0] == together[i]).all()
    assert (scenery.backgrounds(u) == together).all()


def test_every_kind_of_sky_can_be_seen():
    u = numbers(1).repeat(20, 0)
    u[:, 1] = np.arange(20) / 20  # which sky
    u[:, [2, 6]] = 0.99  # what stands before it begins low down
    u[:, scenery.OF_LAYOUT : scenery.OF_LAYOUT + scenery.BOXES * scenery.OF_BOX] = 0  # no things
    tops = scenery.backgrounds(u)[:, :, 0].mean(-1)
    assert len(np.unique(tops.round(6), axis=0)) == len(scenery.SKIES)
