import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from eval_fid_fvd.networks.town import TownR2p1d, fitted, town_r2p1d
from worldmodel.errors import BadCheckpoint, ClipTooShort


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random weights on disk."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        network = TownR2p1d().eval()
    path = tmp_path_factory.mktemp("features") / "town"
    network.save_pretrained(path, "# Random\n")
    return path


def frames(count, size=(64, 128), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, *size), dtype=np.uint8)


def greys(levels):
    return np.stack([np.full((3, 64, 128), grey, np.uint8) for grey in levels])


def test_both_networks_carry_one_name_and_hash(folder):
    networks = town_r2p1d(folder)
    assert networks.pictures.name == networks.clips.name == f"town-r2p1d-{networks.pictures.file_hash[:8]}"
    assert networks.pictures.file_hash == TownR2p1d.from_pretrained(folder).hash


def test_features_have_the_width_that_is_said_and_do_not_depend_on_the_batch(folder):
    networks = town_r2p1d(folder)
    pictures = frames(24)
    rows = networks.pictures.features(pictures)
    assert rows.shape == (24, networks.pictures.width)
    assert rows.dtype == np.float64
    assert_allclose(networks.pictures.features(pictures[-3:]), rows[-3:], atol=1e-5)
    videos = np.tile(pictures.reshape(3, 8, 3, 64, 128), (8, 1, 1, 1, 1))  # more than one batch
    clips = networks.clips.features(videos)
    assert clips.shape == (24, networks.clips.width)
    assert_allclose(networks.clips.features(videos[2:3]), clips[2:3], atol=1e-5)
    assert_allclose(clips[:3], clips[-3:], atol=1e-5)


def test_a_picture_is_seen_as_a_clip_that_stands_still(folder):
    network = TownR2p1d.from_pretrained(folder)
    picture = fitted(frames(2)).unsqueeze(2)
    still = network(picture.expand(-1, -1, 12, -1, -1)).mean(dim=(2, 3, 4))
    assert_allclose(network(picture).mean(dim=(2, 3, 4)).numpy(), still.numpy(), atol=1e-5)


def test_clip_features_see_the_order_of_frames(folder):
    network = town_r2p1d(folder).clips
    video = greys((0, 40, 90, 150, 200, 255, 120, 60))
    forwards, swapped = (network.features(x[None])[0] for x in (video, video[[0, 2, 1, 3, 4, 6, 5, 7]]))
    assert np.abs(forwards - swapped).max() > 1e-4


def test_longer_clips_are_taken_whole(folder):
    network = town_r2p1d(folder).clips
    video = greys((0, 40, 90, 150, 200, 255, 120, 60, 30, 20, 10, 0))
    assert np.abs(network.features(video[None]) - network.features(video[None, :8])).max() > 1e-4


def test_features_are_in_standard_deviations_of_what_it_was_trained_on(folder, tmp_path):
    network = TownR2p1d.from_pretrained(folder)
    network.clip_mean.fill_(1.0)
    network.clip_spread.fill_(2.0)
    network.picture_spread.fill_(4.0)
    network.save_pretrained(tmp_path / "scaled", "# Scaled\n")
    videos = frames(8)[None]
    plain, scaled = town_r2p1d(folder), town_r2p1d(tmp_path / "scaled")
    assert_allclose(scaled.clips.features(videos), (plain.clips.features(videos) - 1) / 2, atol=1e-6)
    assert_allclose(scaled.pictures.features(videos[0]), plain.pictures.features(videos[0]) / 4, atol=1e-6)


def test_other_sizes_are_brought_to_the_networks():
    assert fitted(frames(2, (128, 256))).shape == (2, 3, 64, 128)
    assert fitted(frames(2, (32, 64))).shape == (2, 3, 64, 128)
    exact = frames(1)
    assert_allclose(fitted(exact).numpy(), exact / 127.5 - 1, atol=1e-6)
    doubled = exact.repeat(2, axis=2).repeat(2, axis=3)
    assert_allclose(fitted(doubled).numpy(), fitted(exact).numpy(), atol=1e-6)


def test_short_clips_are_refused(folder):
    with pytest.raises(ClipTooShort, match="at least 8"):
        town_r2p1d(folder).clips.features(frames(7)[None])


def test_another_kind_of_folder_is_refused(folder, tmp_path):
    with pytest.raises(BadCheckpoint):
        town_r2p1d(tmp_path / "nothing")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "kind": "other"}))
    with pytest.raises(BadCheckpoint, match="no town-r2p1d"):
        town_r2p1d(copy)


def test_loading_and_scoring_leave_torchs_own_generator_alone(folder):
    before = torch.random.get_rng_state()
    town_r2p1d(folder).clips.features(frames(8)[None])
    assert_array_equal(torch.random.get_rng_state().numpy(), before.numpy())


def test_the_shipped_network_is_small_and_its_card_says_what_it_can():
    shipped = Path(__file__).parents[2] / "assets" / "features"
    assert sum(file.stat().st_size for file in shipped.iterdir()) <= 4 * 2**20
    card = (shipped / "README.md").read_text()
    for word in ("speed", "yaw rate", "weather", "vehicles", "held-out", "Limits", "Apache-2.0"):
        assert word in card
    assert town_r2p1d().clips.name.startswith("town-r2p1d-")
