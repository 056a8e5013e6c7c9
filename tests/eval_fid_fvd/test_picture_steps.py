import numpy as np
import pytest
from PIL import Image

from eval_fid_fvd.conversion import ConvertedClips, conversion_of
from eval_fid_fvd.picture_steps import Crop, CropToShape, Resize
from eval_fid_fvd.presets import PRESETS, options_of, preset_of
from eval_fid_fvd.sources import ArrayClips
from worldmodel.errors import BadRequest, UnknownName


@pytest.fixture
def video(rng):
    return rng.integers(0, 256, size=(3, 2, 3, 90, 160), dtype=np.uint8)


def test_pillow_steps_are_pillows(video):
    got = Resize(width_px=40, height_px=30, by="PIL bicubic")(video)
    picture = Image.fromarray(video[1, 1].transpose(1, 2, 0)).resize((40, 30), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(got[1, 1].transpose(1, 2, 0), np.asarray(picture))


@pytest.mark.parametrize(
    ("step", "shape", "words"),
    [
        (Resize(width_px=40), (23, 40), "width to 40 px, antialiased bilinear"),
        (Resize(height_px=45), (45, 80), "height to 45 px, antialiased bilinear"),
        (Resize(short_px=45, by="bilinear without antialias"), (45, 80), "shorter side to 45 px, bilinear without antialias"),
        (Crop(width_px=100, height_px=200), (90, 100), "crop to 100x200, middle"),
        (CropToShape(width=1, height=1), (90, 90), "crop the middle to 1:1"),
    ],
)  # fmt: skip
def test_steps_say_what_they_do(video, step, shape, words):
    assert step(video).shape == (3, 2, 3, *shape)
    assert str(step) == words


def test_crops_keep_the_bottom_or_the_middle(video):
    np.testing.assert_array_equal(Crop(width_px=160, height_px=50, keep="bottom")(video), video[..., 40:, :])
    np.testing.assert_array_equal(Crop(width_px=60, height_px=50)(video), video[..., 20:70, 50:110])
    assert Crop(width_px=500, height_px=500)(video) is video


def test_frames_are_thinned_to_the_nearest_in_time_and_the_card_says_so(video):
    clips = np.arange(12, dtype=np.uint8)[None, :, None, None, None, None] * np.ones((1, 1, 1, 3, 20, 20), np.uint8)
    thinned = ConvertedClips(ArrayClips(clips, 12.0), (), 8.0)
    assert thinned.length("clip 0") == 8
    frames = thinned.read("clip 0", np.arange(8))[:, 0, 0, 0, 0]
    assert frames.tolist() == [0, 2, 3, 5, 6, 8, 9, 11]  # 0, 1.5, 3, 4.5 ... to the nearest, halves up
    assert thinned.done == "nearest frames of 12 Hz"
    same = ConvertedClips(ArrayClips(clips, 12.0), (Resize(width_px=20, height_px=20),), 12.0)
    assert same.read("clip 0", np.arange(12)).shape == (12, 1, 3, 20, 20)
    assert conversion_of(thinned, same) == "generated: nearest frames of 12 Hz; real: none"


def test_frames_are_never_invented(video):
    with pytest.raises(BadRequest, match="has 8 Hz, but 10 Hz are wanted; frames are left out, never invented"):
        ConvertedClips(ArrayClips(video[None], 8.0), (), 10.0)
    with pytest.raises(BadRequest, match="an unknown rate"):
        ConvertedClips(ArrayClips(video[None], None), (), 10.0)


def test_the_preset_of_magicdrive_v2_brings_both_of_its_sizes_to_212_rows(rng):
    steps = PRESETS["magicdrive-v2"].options.steps
    whole = rng.integers(0, 256, size=(1, 1, 3, 900, 1600), dtype=np.uint8)
    padded = whole.copy()
    padded[..., :52, :] = 0  # what it generates begins 52 rows below the top
    sides = []
    for video in (whole, padded):
        for step in steps[:2]:
            video = step(video)
        assert video.shape[-2:] == (212, 400)
        sides.append(video)
    np.testing.assert_array_equal(*(side[..., 2:, :] for side in sides))  # the padding is cropped away
    last = steps[3](steps[2](sides[0]))
    assert last.shape[-2:] == (224, 224)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_say_whose_they_are_and_what_is_unknown(name):
    preset = preset_of(name)
    assert preset.options.preset == name
    assert preset.unknown
    assert all(source.startswith("github.com/") for source in preset.sources)
    changed = options_of(preset, frames=12, condition_frames=None, frequency_hz=None, size=(64, 32))
    assert changed.preset == f"{name}, with another frames, size"
    assert (changed.frames, str(changed.steps[0])) == (12, "to 64x32, antialiased bilinear")


def test_unknown_presets_offer_the_closest():
    with pytest.raises(UnknownName, match="Did you mean 'vista'"):
        preset_of("vist")


def test_impossible_sizes_are_refused():
    with pytest.raises(BadRequest, match="sides must be 16 to 4096 px"):
        Resize(width_px=8, height_px=8)
