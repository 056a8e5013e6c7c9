from dataclasses import replace

import numpy as np
import pytest
import torch

from eval_fid_fvd.networks import i3d
from eval_fid_fvd.networks.i3d import i3d_input, i3d_k400
from eval_fid_fvd.networks.weight_files import git_blob_hash
from worldmodel.errors import ClipTooShort


class ScriptedI3d(torch.nn.Module):
    """The call signature of the published TorchScript, with 400 'logits' that depend on place, time and colour."""

    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False):
        pooled = torch.nn.functional.adaptive_avg_pool3d(x, (4, 5, 5)).flatten(1)
        assert not rescale
        assert not resize
        return torch.cat([pooled, x.amax(dim=(2, 3, 4)).repeat(1, 34)[:, :100]], dim=1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_i3d_is_fed_squashed_frames_in_minus_one_to_one(rng, tmp_path, monkeypatch):
    weights = tmp_path / "i3d.pt"
    torch.jit.script(ScriptedI3d()).save(str(weights))
    monkeypatch.setattr(i3d, "WEIGHTS", replace(i3d.WEIGHTS, digest=git_blob_hash(weights)))
    network = i3d_k400(weights)
    videos = rng.integers(0, 256, size=(2, 12, 3, 20, 32), dtype=np.uint8)
    videos[:, :, 1] = 255
    got = network.features(videos)
    assert got.shape == (2, 400)
    np.testing.assert_allclose(got[:, 100:200], 1, atol=1e-6)  # the green channel is white: 1 after scaling
    x = i3d_input(torch.from_numpy(videos))
    assert x.shape == (2, 3, 12, 224, 224)
    assert x.abs().max() <= 1 + 1e-6
    with pytest.raises(ClipTooShort, match=r"9 frames, but i3d-k400 needs at least 10.*--metrics fid"):
        network.features(videos[:, :9])
