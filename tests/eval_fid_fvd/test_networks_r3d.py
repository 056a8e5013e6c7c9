from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.models import video as models

from eval_fid_fvd.networks import r3d
from eval_fid_fvd.networks.r3d import r3d_input
from eval_fid_fvd.networks.weight_files import file_sha256
from worldmodel.errors import BadCheckpoint, ClipTooShort


@pytest.mark.parametrize("size", [(64, 128), (128, 171), (200, 300)])
def test_frames_are_prepared_as_by_torchvisions_own_transform(rng, size):
    videos = torch.from_numpy(rng.integers(0, 256, size=(2, 4, 3, *size), dtype=np.uint8))
    for weights in (models.R2Plus1D_18_Weights.KINETICS400_V1, models.R3D_18_Weights.KINETICS400_V1):
        torch.testing.assert_close(r3d_input(videos), weights.transforms()(videos), atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "file", "architecture"), [("r2p1d_18", "R2P1D", models.r2plus1d_18), ("r3d_18", "R3D", models.r3d_18)]
)
def test_features_are_what_torchvisions_classifier_is_fed(load, file, architecture, rng, tmp_path, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = architecture(weights=None).eval()
    weights = tmp_path / "weights.pth"
    torch.save(reference.state_dict(), weights)
    monkeypatch.setattr(r3d, file, replace(getattr(r3d, file), digest=file_sha256(weights)))
    network = getattr(r3d, load)(weights)
    videos = rng.integers(0, 256, size=(2, 8, 3, 64, 128), dtype=np.uint8)
    got = network.features(videos)
    with torch.inference_mode():
        logits = reference(r3d_input(torch.from_numpy(videos))).double().numpy()
        mine = reference.fc(torch.from_numpy(got).float()).double().numpy()
    assert got.shape == (2, 512)
    np.testing.assert_allclose(mine, logits, atol=1e-4 * np.abs(logits).max())
    with pytest.raises(ClipTooShort, match=r"7 frames, but r.*-18-k400 needs at least 8"):
        network.features(videos[:, :7])
    torch.save({"fc.weight": torch.zeros(1)}, weights)
    monkeypatch.setattr(r3d, file, replace(getattr(r3d, file), digest=file_sha256(weights)))
    with pytest.raises(BadCheckpoint, match="do not fit"):
        getattr(r3d, load)(weights)


def test_pinned_hashes_begin_as_the_published_file_names_say():
    for file in (r3d.R2P1D, r3d.R3D):
        assert file.source.endswith(f"-{file.digest[:8]}.pth")
