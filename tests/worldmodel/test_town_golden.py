"""Kept pictures, one for each feature of the town: nothing changes its look by accident."""

import numpy as np
import pytest
from PIL import Image
from town_features import FEATURES, GOLDEN, picture

MEAN_LIMIT = 2.0  # of 255; other processors and versions of torch round differently
OUTLIERS = 0.02  # share of pixels that may differ by more than 40 of 255, at edges


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_looks_as_it_did(name: str) -> None:
    """On purpose changed? `python tests/town_features.py` draws them anew; look at them, and say why in the changelog."""
    kept = np.asarray(Image.open(GOLDEN / f"{name}.png"))
    difference = np.abs(picture(name).astype(int) - kept.astype(int))
    assert difference.mean() < MEAN_LIMIT
    assert (difference.max(axis=-1) > 40).mean() < OUTLIERS


def test_the_kept_pictures_are_small_and_none_is_left_over() -> None:
    files = {path.stem: path.stat().st_size for path in GOLDEN.glob("*.png")}
    assert set(files) == set(FEATURES)
    assert sum(files.values()) < 300_000


def test_lamps_and_weathers_are_told_apart_in_the_kept_pictures() -> None:
    for one, other in (
        ("crosswalk-red", "crosswalk-green"),
        ("indicator-left", "hazard"),
        ("rain", "wet"),
        ("day", "night"),
    ):
        a, b = (np.asarray(Image.open(GOLDEN / f"{name}.png")).astype(int) for name in (one, other))
        assert np.abs(a - b).max() > 60
