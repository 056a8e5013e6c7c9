import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from eval_fid_fvd.town_network import TownNetwork, fitted, town_features
from worldmodel.errors import BadCheckpoint, ClipTooShort


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random weights on disk."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        network = TownNetwork().eval()
    path = tmp_path_factory.mktemp("features") / "town"
    network.save_pretrained(path, "# Random\n")
    return path


def frames(count, size=(64, 128), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, *size), dtype=np.uint8)


def test_both_networks_carry_one_name_and_hash(folder):
    networks = town_features(folder)
    assert networks.pictures.name == networks.clips.name == f"town-{networks.pictures.file_hash[:8]}"
    assert networks.pictures.file_hash == TownNetwork.from_pretrained(folder).hash


def test_features_have_the_width_that_is_said_and_do_not_depend_on_the_batch(folder):
    networks = town_features(folder)
    pictures = frames(50)
    rows = networks.pictures.features(pictures)
    assert rows.shape == (50, networks.pictures.width)
    assert_allclose(networks.pictures.features(pictures[-3:]), rows[-3:], atol=1e-5)
    videos = pictures[:48].reshape(4, 12, 3, 64, 128)
    clips = networks.clips.features(videos)
    assert clips.shape == (4, networks.clips.width)
    assert_allclose(networks.clips.features(videos[2:3]), clips[2:3], atol=1e-5)


def test_clip_features_see_the_order_of_frames_and_stillness(folder):
    network = town_features(folder).clips
    video = np.stack([np.full((3, 64, 128), grey, np.uint8) for grey in (0, 40, 90, 150, 200, 255)])
    forwards, backwards, still = (
        network.features(x[None])[0] for x in (video, video[::-1].copy(), np.repeat(video[:1], 6, axis=0))
    )
    assert np.abs(forwards - backwards).max() > 1e-4
    assert_allclose(still[48:96], 0, atol=1e-6)  # no pair differs from another
    assert forwards[48:96].max() > 1e-4


def test_other_sizes_are_brought_to_the_networks():
    assert fitted(frames(2, (128, 256))).shape == (2, 3, 64, 128)
    assert fitted(frames(2, (32, 64))).shape == (2, 3, 64, 128)
    exact = frames(1)
    assert_allclose(fitted(exact).numpy(), exact / 127.5 - 1, atol=1e-6)
    doubled = exact.repeat(2, axis=2).repeat(2, axis=3)
    assert_allclose(fitted(doubled).numpy(), fitted(exact).numpy(), atol=1e-6)


def test_a_single_frame_is_no_clip(folder):
    with pytest.raises(ClipTooShort, match="at least 2"):
        town_features(folder).clips.features(frames(1)[None])


def test_another_kind_of_folder_is_refused(folder, tmp_path):
    with pytest.raises(BadCheckpoint):
        town_features(tmp_path / "nothing")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "kind": "other"}))
    with pytest.raises(BadCheckpoint, match="no town feature network"):
        town_features(copy)
