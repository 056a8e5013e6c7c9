"""Users' pictures are checked before they are used; the town's own have true sizes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.sprites import Eye, read_sprite
from studio.town_sprites import KINDS, lookalike_of, sprite_of
from worldmodel.errors import BadEdit, BadVideo, UnknownName


def saved(path: Path, rgba: np.ndarray) -> Path:
    Image.fromarray(rgba).save(path)
    return path


def outlined(height: int = 20, width: int = 30) -> np.ndarray:
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[5:15, 10:25] = (200, 0, 0, 255)
    return rgba


def test_a_picture_is_cut_to_what_is_visible(tmp_path: Path) -> None:
    sprite = read_sprite(saved(tmp_path / "crate.png", outlined()), 1.0)
    view = sprite.view(Eye(azimuth_rad=0.3, distance_m=9.0, height_m=1.5))
    assert sprite.name == "crate"
    assert view.rgba.shape == (10, 15, 4)
    assert (view.width_m, view.height_m) == (1.5, 1.0)


@pytest.mark.parametrize(
    ("rgba", "message"),
    [
        (np.zeros((20, 20, 3), np.uint8), "no alpha channel"),
        (np.zeros((20, 20, 4), np.uint8), "transparent throughout"),
        (np.full((20, 20, 4), 255, np.uint8), "opaque throughout"),
        (np.zeros((3, 20, 4), np.uint8), "must have 4 to 4096"),
        (np.zeros((8, 4100, 4), np.uint8), "must have 4 to 4096"),
    ],
)
def test_pictures_that_cannot_be_sprites(tmp_path: Path, rgba: np.ndarray, message: str) -> None:
    with pytest.raises(BadVideo, match=message):
        read_sprite(saved(tmp_path / "bad.png", rgba), 1.0)


def test_broken_missing_and_empty_files(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.png", outlined()).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, message in [
        ("cut", "not a readable"),
        ("text", "not a readable"),
        ("empty", "0 bytes"),
        ("no", "no sprite"),
    ]:
        with pytest.raises(BadVideo, match=message):
            read_sprite(tmp_path / f"{name}.png", 1.0)


@pytest.mark.parametrize("height_m", [0.0, -1.0, float("nan"), 500.0])
def test_impossible_heights(tmp_path: Path, height_m: float) -> None:
    with pytest.raises(BadEdit, match="real height"):
        read_sprite(saved(tmp_path / "a.png", outlined()), height_m)


def test_unknown_kinds_offer_the_closest() -> None:
    with pytest.raises(UnknownName, match="'truck'"):
        sprite_of("trucks")


@pytest.mark.parametrize("kind", ["cone", "pedestrian"])
def test_rendered_objects_have_their_size(kind: str) -> None:
    length, width, height, _ = KINDS[kind]
    behind = sprite_of(kind).view(Eye(azimuth_rad=np.pi, distance_m=12.0, height_m=height / 2))
    assert behind.height_m + behind.bottom_m == pytest.approx(height, rel=0.05)
    assert behind.width_m == pytest.approx(width, rel=0.15)
    beside = sprite_of(kind).view(Eye(azimuth_rad=np.pi / 2, distance_m=12.0, height_m=height / 2))
    assert beside.width_m == pytest.approx(length, rel=0.15)


def test_pictures_are_as_fine_as_they_are_shown_and_near_views_share_one() -> None:
    cone = sprite_of("cone")
    coarse, fine = (
        cone.view(Eye(azimuth_rad=0.0, distance_m=10.0, height_m=1.5, pixels_per_m=ppm)) for ppm in (10.0, 150.0)
    )
    assert coarse.rgba.shape[0] == 32
    assert fine.rgba.shape[0] == 128
    assert coarse.height_m == pytest.approx(fine.height_m, rel=0.05)
    assert cone.view(Eye(azimuth_rad=0.01, distance_m=10.05, height_m=1.52, pixels_per_m=10.0)) is coarse


def test_a_lookalike_is_as_large_as_the_other_from_everywhere() -> None:
    cone = sprite_of("cone")
    like = lookalike_of(cone)
    eye = Eye(azimuth_rad=0.5, distance_m=9.0, height_m=1.5)
    shown, other = like.view(eye), cone.view(replace(eye, azimuth_rad=np.pi))
    assert (shown.width_m, shown.height_m, shown.bottom_m) == (other.width_m, other.height_m, other.bottom_m)
    colour = (shown.rgba[..., :3] * (shown.rgba[..., 3:] > 200)).reshape(-1, 3).mean(axis=0)
    assert colour[1] > 1.2 * colour[0]  # green, where a cone is orange
    assert like.name == "bush as large as a cone"
