import json

import numpy as np
import pytest
import torch
from PIL import Image

from eval_fid_fvd.networks.dinov2 import FOLDER, MEAN, STD, dinov2, dinov2_input
from eval_fid_fvd.networks.weight_files import file_sha256
from worldmodel.errors import BadCheckpoint


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder as `save_pretrained` writes it, of a tiny network with random weights, and the network."""
    from transformers import Dinov2Config, Dinov2Model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Dinov2Model(
            Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=70)
        ).eval()
    folder = tmp_path_factory.mktemp("dinov2")
    network.save_pretrained(folder)
    return folder, network


@pytest.fixture
def frames(rng):
    coarse = rng.integers(0, 256, size=(3, 3, 12, 20), dtype=np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


def test_frames_are_prepared_as_by_the_librarys_own_processor(frames):
    from transformers import BitImageProcessor

    processor = BitImageProcessor(
        size={"height": 224, "width": 224}, do_center_crop=False, resample=3, image_mean=MEAN, image_std=STD
    )
    expected = processor(list(frames), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(dinov2_input(torch.from_numpy(frames)), expected, atol=1e-6, rtol=0)


def test_the_resize_is_pillows_within_two_grey_levels(frames):
    got = dinov2_input(torch.from_numpy(frames))
    levels = (got * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)) * 255
    for frame, mine in zip(frames, levels, strict=True):
        picture = Image.fromarray(frame.transpose(1, 2, 0)).resize((224, 224), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(picture).transpose(2, 0, 1) - mine.numpy()).max() < 2.01


def test_features_are_the_class_token_of_the_loaded_network(small, frames):
    folder, network = small
    loaded = dinov2(folder)
    with torch.inference_mode():
        expected = network(pixel_values=dinov2_input(torch.from_numpy(frames))).pooler_output.double().numpy()
    got = loaded.features(frames)
    assert expected.std() > 0.1
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(loaded.features(frames[1:2])[0], got[1], atol=1e-5)
    assert (loaded.width, loaded.frames_needed) == (24, 1)


def test_weights_that_are_not_the_published_ones_are_named_by_their_hash(small):
    sha256 = file_sha256(small[0] / "model.safetensors")
    network = dinov2(small[0])
    assert network.name == f"dinov2-{sha256[:8]}"
    assert network.file_hash == f"{sha256} (not pinned)"
    assert sorted(FOLDER.published.values()) == ["dinov2-base", "dinov2-large"]


def test_a_folder_with_missing_tensors_is_refused(small, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(small[0] / "model.safetensors")
    del tensors["layernorm.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((small[0] / "config.json").read_text())
    with pytest.raises(BadCheckpoint, match=r"1 tensors are missing or of another shape, such as layernorm\.weight"):
        dinov2(tmp_path)
    config = json.loads((small[0] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": 48}))
    with pytest.raises(BadCheckpoint, match=r"cannot be read|of another shape"):
        dinov2(tmp_path)
