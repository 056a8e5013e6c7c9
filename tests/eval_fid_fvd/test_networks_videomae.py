from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from eval_fid_fvd.networks import videomae as networks
from eval_fid_fvd.networks.videomae import giant_input, giant_network, videomae, videomae_input, videomae_v2_g
from eval_fid_fvd.networks.weight_files import file_sha256
from worldmodel.errors import BadCheckpoint, ClipTooShort

WIDTH, DEPTH, HEADS, HIDDEN, PATCH = 24, 2, 2, 40, 56
SMALL = {
    "image_size": 224,
    "patch_size": PATCH,
    "num_frames": 16,
    "tubelet_size": 2,
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "intermediate_size": HIDDEN,
    "layer_norm_eps": 1e-6,
}


def shapes_of(config, classes):
    """Names and shapes of VideoMAE V2's own checkpoints."""
    width, hidden, patch = config["hidden_size"], config["intermediate_size"], config["patch_size"]
    block = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.q_bias": (width,),
        "attn.v_bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (hidden, width),
        "mlp.fc1.bias": (hidden,),
        "mlp.fc2.weight": (width, hidden),
        "mlp.fc2.bias": (width,),
    }
    shapes = {"patch_embed.proj.weight": (width, 3, 2, patch, patch), "patch_embed.proj.bias": (width,)}
    for i in range(config["num_hidden_layers"]):
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    head = {"head.weight": (classes, width), "head.bias": (classes,)}
    return shapes | {"fc_norm.weight": (width,), "fc_norm.bias": (width,)} | head


@pytest.fixture(scope="module")
def giant_state():
    generator = torch.Generator().manual_seed(0)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes_of(SMALL, 7).items()}


def by_hand(state, clip):
    """VideoMAE V2's forward pass for one clip float [time, 3, 224, 224], written out in float64."""
    p = {name: value.double() for name, value in state.items()}

    def norm(x, name):
        return functional.layer_norm(x, (WIDTH,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-6)

    weight, bias = p["patch_embed.proj.weight"], p["patch_embed.proj.bias"]
    patches = functional.conv3d(clip.double().transpose(0, 1)[None], weight, bias, (2, PATCH, PATCH))
    x = patches.flatten(2).transpose(1, 2)[0]
    place, channel = torch.arange(len(x), dtype=torch.float64)[:, None], torch.arange(WIDTH)
    angle = place / 10000 ** (2 * (channel // 2) / WIDTH)
    x = x + torch.where(channel % 2 == 0, angle.sin(), angle.cos())
    for i in range(DEPTH):
        b = f"blocks.{i}."
        q, k, v = (norm(x, b + "norm1") @ p[b + "attn.qkv.weight"].T).split(WIDTH, dim=1)
        q, v = q + p[b + "attn.q_bias"], v + p[b + "attn.v_bias"]
        heads = [part.unflatten(1, (HEADS, -1)).transpose(0, 1) for part in (q, k, v)]
        weights = (heads[0] @ heads[1].transpose(1, 2) / (WIDTH // HEADS) ** 0.5).softmax(dim=-1)
        mixed = (weights @ heads[2]).transpose(0, 1).flatten(1)
        x = x + mixed @ p[b + "attn.proj.weight"].T + p[b + "attn.proj.bias"]
        hidden = functional.gelu(norm(x, b + "norm2") @ p[b + "mlp.fc1.weight"].T + p[b + "mlp.fc1.bias"])
        x = x + hidden @ p[b + "mlp.fc2.weight"].T + p[b + "mlp.fc2.bias"]
    return norm(x.mean(dim=0), "fc_norm")


@pytest.fixture
def clips(rng):
    return rng.integers(0, 256, size=(2, 16, 3, 40, 64), dtype=np.uint8)


def test_v2_g_reads_its_own_checkpoint_and_computes_what_is_written_out_by_hand(
    giant_state, clips, tmp_path, monkeypatch
):
    weights = tmp_path / "vit_g.pth"
    torch.save({"module": giant_state}, weights)
    monkeypatch.setattr(networks, "GIANT", replace(networks.GIANT, digest=file_sha256(weights)))
    monkeypatch.setattr(networks, "GIANT_CONFIG", SMALL)
    network = videomae_v2_g(weights)
    got = network.features(clips)
    expected = torch.stack([by_hand(giant_state, giant_input(torch.from_numpy(clip))) for clip in clips]).numpy()
    assert expected.std() > 0.05
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    assert (network.name, network.width, network.file_hash) == ("videomae-v2-g-ssv2", WIDTH, file_sha256(weights))


def test_v2_g_is_fed_squashed_frames_in_zero_to_one_without_further_normalisation(clips):
    clips[:, :, 0] = 255
    x = giant_input(torch.from_numpy(clips[0]))
    assert x.shape == (16, 3, 224, 224)
    assert x.min() >= 0
    torch.testing.assert_close(x[:, 0], torch.ones(16, 224, 224))


def test_longer_clips_are_cut_into_windows_whose_features_are_averaged(giant_state, rng, tmp_path, monkeypatch):
    weights = tmp_path / "vit_g.pth"
    torch.save(giant_state, weights)
    monkeypatch.setattr(networks, "GIANT", replace(networks.GIANT, digest=file_sha256(weights)))
    monkeypatch.setattr(networks, "GIANT_CONFIG", SMALL)
    network = videomae_v2_g(weights)
    video = rng.integers(0, 256, size=(1, 37, 3, 40, 64), dtype=np.uint8)
    parts = [network.features(video[:, :16]), network.features(video[:, 16:32])]
    np.testing.assert_allclose(network.features(video), np.mean(parts, axis=0), atol=1e-6)
    assert "windows of 16 frames" in network.frames_rule
    with pytest.raises(ClipTooShort, match="15 frames, but videomae-v2-g-ssv2 needs at least 16"):
        network.features(video[:, :15])


def test_a_v2_checkpoint_that_does_not_fit_is_refused(giant_state):
    lacking = {name: value for name, value in giant_state.items() if name != "blocks.1.mlp.fc2.bias"}
    with pytest.raises(
        BadCheckpoint, match=r"do not fit(.|\n)*layer\.1\.output\.dense\.bias(.|\n)*Get the file from https"
    ):
        giant_network(lacking, SMALL)
    with pytest.raises(BadCheckpoint, match="do not fit"):
        giant_network({"model": {"epoch": 3}}, SMALL)


def test_the_sizes_of_v2_g_are_those_of_the_published_file():
    shapes = shapes_of(networks.GIANT_CONFIG, 174)
    stored = 2 * sum(np.prod(shape, dtype=np.int64) for shape in shapes.values())  # half precision
    assert stored == pytest.approx(2_023_804_201, rel=1e-4)  # bytes of the file, with its table of contents


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = VideoMAEForVideoClassification(VideoMAEConfig(**SMALL, num_labels=5)).eval()
    path = tmp_path_factory.mktemp("videomae")
    network.save_pretrained(path)
    return path, network


@pytest.mark.parametrize("size", [(40, 64), (64, 40), (300, 533)])
def test_frames_are_prepared_as_by_the_librarys_own_processor(rng, size):
    from transformers import VideoMAEImageProcessor

    video = rng.integers(0, 256, size=(2, 3, *size), dtype=np.uint8)
    processor = VideoMAEImageProcessor(image_mean=networks.MEAN, image_std=networks.STD)
    expected = processor(list(video), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(videomae_input(torch.from_numpy(video)), expected, atol=1e-6, rtol=0)


def test_a_folder_of_the_library_gives_what_its_classifier_is_fed(folder, clips):
    path, reference = folder
    network = videomae(path)
    got = network.features(clips)
    x = torch.stack([videomae_input(torch.from_numpy(clip)) for clip in clips])
    with torch.inference_mode():
        logits = reference(x).logits.double().numpy()
        mine = reference.classifier(torch.from_numpy(got).float()).double().numpy()
    np.testing.assert_allclose(mine, logits, atol=1e-5)
    assert network.name == f"videomae-{file_sha256(path / 'model.safetensors')[:8]}"
    assert network.file_hash.endswith("(not pinned)")


def test_a_videomae_of_another_length_is_refused(tmp_path):
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    VideoMAEForVideoClassification(VideoMAEConfig(**SMALL | {"num_frames": 8})).save_pretrained(tmp_path)
    with pytest.raises(
        BadCheckpoint, match="of 8 frames at 224 pixels with mean pooling; 16 at 224 with it are needed"
    ):
        videomae(tmp_path)
