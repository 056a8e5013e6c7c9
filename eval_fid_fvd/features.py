"""Feature networks as contracts: what a picture or clip goes through before a Fréchet or kernel distance is taken.

A distance is only comparable with another one made by the same network, weights, resize rule and value range, so all
of that is part of the contract and is printed with every number (`cards.py`). Networks with published weights are
loaded from a local file whose hash is pinned; nothing is downloaded. `tokenizer_features` needs no file: it pools the
latents of the shipped tokenizer, and its numbers are never called FID or FVD without that name.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.errors import BadCheckpoint, BadVideo, ClipTooShort

Array = np.ndarray
BATCH_FRAMES = 16
INCEPTION_SHA256_PREFIX = "6726825d"
INCEPTION_SOURCE = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
I3D_GIT_BLOB = "93daef59c7ae0e9e8f76225521407e60cbafa6aa"
I3D_SOURCE = "i3d_torchscript.pt of StyleGAN-V (github.com/universome/stylegan-v, also in JunyaoHu/common_metrics_on_video_quality)"


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureNetwork:
    """A network that turns pictures or clips into features, and everything one must know to repeat it.

    Attributes:
        name: As printed in brackets behind a score, such as 'inception-2015'.
        file_hash: Hash of the weights.
        value_range: What the network is fed, such as '[-1, 1]'.
        resize: How frames are brought to the network's size.
        frames_needed: 1 for a network of pictures; otherwise the fewest frames a clip must have.
        layer: Which layer's output the features are.
        width: Number of features.
        compute: uint8 RGB [n, 3, h, w] (pictures) or [n, time, 3, h, w] (clips) -> float64 [n, width].
    """

    name: str
    file_hash: str
    value_range: str
    resize: str
    frames_needed: int
    layer: str
    width: int
    compute: Callable[[Array], Array]

    @property
    def takes_clips(self) -> bool:
        """Whether one feature row describes a clip; otherwise one picture."""
        return self.frames_needed > 1

    def features(self, frames: UInt8[Array, "n ..."]) -> Float[Array, "n width"]:
        """Features of n pictures [n, 3, h, w] or n clips [n, time, 3, h, w], float64.

        Raises:
            BadVideo: for another dtype or shape.
            ClipTooShort: if clips have fewer frames than the network needs.
        """
        axes = 5 if self.takes_clips else 4
        if frames.dtype != np.uint8 or frames.ndim != axes or frames.shape[-3] != 3 or not frames.size:
            form = "[n, time, 3, h, w]" if self.takes_clips else "[n, 3, h, w]"
            raise BadVideo(f"{self.name}: got {frames.dtype} {frames.shape}; it needs uint8 RGB {form}. Convert first.")
        if self.takes_clips and frames.shape[1] < self.frames_needed:
            raise ClipTooShort(
                f"clips have {frames.shape[1]} frames, but {self.name} needs at least {self.frames_needed}. "
                "Use longer clips, or score them with --metrics fid."
            )
        return np.asarray(self.compute(frames), np.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureNetworks:
    """The networks a set of scores is made with: one for pictures (FID, KID), one for clips (FVD, KVD)."""

    pictures: FeatureNetwork | None = None
    clips: FeatureNetwork | None = None


class Tokenizer(Protocol):
    """What this module needs of a tokenizer: frames to latents, and the hash of its weights."""

    @property
    def hash(self) -> str:
        """Hash of the weights, hexadecimal, at least 8 digits."""

    def encode(self, frames: UInt8[Array, "n 3 h w"]) -> Tensor:
        """Latents of frames, float, shape [n, c, h', w']."""


def tokenizer_features(tokenizer: Tokenizer) -> FeatureNetworks:
    """Features from the tokenizer that ships with the model; no download, named `tokenizer-<hash8>`.

    Pictures: mean and standard deviation over space of each latent channel, [2 c]. Clips: mean over time of these two,
    then per channel the mean absolute difference of consecutive latents and the standard deviation over time of the
    spatial mean, [4 c].

    Raises:
        BadCheckpoint: if the tokenizer's hash has fewer than 8 digits.
    """
    if len(tokenizer.hash) < 8:
        raise BadCheckpoint(f"the tokenizer's hash is '{tokenizer.hash}'; 8 digits are needed. Load it from its file.")
    channels = _latents(tokenizer, np.zeros((1, 3, 64, 64), np.uint8)).shape[1]
    common: dict[str, Any] = {
        "name": f"tokenizer-{tokenizer.hash[:8]}",
        "file_hash": tokenizer.hash,
        "value_range": "uint8 RGB, as the tokenizer takes it",
        "resize": "none",
    }
    pictures = FeatureNetwork(
        **common,
        frames_needed=1,
        layer="latents: spatial mean, std",
        width=2 * channels,
        compute=lambda frames: _in_batches(lambda batch: _picture_pool(_latents(tokenizer, batch)), frames),
    )
    clips = FeatureNetwork(
        **common,
        frames_needed=2,
        layer="latents: spatial mean, std over time; mean |frame difference|; std over time of mean",
        width=4 * channels,
        compute=lambda videos: np.stack([_clip_pool(_latents_of_clip(tokenizer, video)) for video in videos]),
    )
    return FeatureNetworks(pictures=pictures, clips=clips)


def inception_2015(weights: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The FID network: TensorFlow's Inception of 2015-12-05, 2048 features of the last pooling layer.

    Frames are squashed to 299 x 299 by TensorFlow 1's bilinear rule, as torch-fidelity and torchmetrics do.

    Args:
        weights: Local copy of `weights-inception-2015-12-05-6726825d.pth` (the same file as pytorch-fid's).
    Raises:
        BadCheckpoint: if the file is missing, has another hash, or does not fit.
    """
    found = _checked_file(weights, "FID's Inception network", INCEPTION_SOURCE)
    sha256 = file_sha256(found)
    _check_hash(found, sha256[:8], INCEPTION_SHA256_PREFIX, "sha256 starts with", INCEPTION_SOURCE)
    network = fid_inception(_state(found)).to(device)

    def batch_features(frames: Array) -> Array:
        x = torch.from_numpy(frames).to(device)
        with torch.inference_mode():
            return np.asarray(network(x).double().cpu().numpy())

    return FeatureNetwork(
        name="inception-2015",
        file_hash=sha256,
        value_range="[-1, 1), (x - 128) / 128",
        resize="squash to 299x299, TensorFlow 1 bilinear, no antialias",
        frames_needed=1,
        layer="pool3",
        width=2048,
        compute=lambda frames: _in_batches(batch_features, frames),
    )


def i3d_k400(weights: Path, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The FVD network: I3D trained on Kinetics-400 from scratch, its 400 logits before the softmax.

    Frames are squashed to 224 x 224 (bilinear, no antialias) and mapped to [-1, 1].

    Args:
        weights: Local copy of `i3d_torchscript.pt`.
    Raises:
        BadCheckpoint: if the file is missing or is not that file.
    """
    found = _checked_file(weights, "FVD's I3D network", I3D_SOURCE)
    blob = git_blob_hash(found)
    _check_hash(found, blob, I3D_GIT_BLOB, "git blob", I3D_SOURCE)
    network = torch.jit.load(str(found), map_location=device).eval()

    def clip_features(videos: Array) -> Array:
        with torch.inference_mode():
            x = i3d_input(torch.from_numpy(videos).to(device))
            return np.asarray(network(x, rescale=False, resize=False, return_features=True).double().cpu().numpy())

    return FeatureNetwork(
        name="i3d-k400",
        file_hash=blob,
        value_range="[-1, 1]",
        resize="squash to 224x224, bilinear (half-pixel centres), no antialias",
        frames_needed=10,
        layer="logits before softmax",
        width=400,
        compute=lambda videos: np.concatenate([clip_features(video[None]) for video in videos]),
    )


def choose_networks(
    weights: Iterable[Path], tokenizer: Tokenizer | None, *, device: torch.device | str = "cpu"
) -> FeatureNetworks:
    """The networks to score with: published ones where their files are given, else the tokenizer's features.

    Args:
        weights: Files of published weights, told apart by their hash, not by their name.
        tokenizer: Stands in for what no file was given for; None leaves it out.
    Raises:
        BadCheckpoint: if a file is missing or is none of the known ones; its hashes are shown.
    """
    base = tokenizer_features(tokenizer) if tokenizer is not None else FeatureNetworks()
    for path in weights:
        found = _checked_file(path, "a feature network", f"{INCEPTION_SOURCE} (FID) or {I3D_SOURCE} (FVD)")
        sha256, blob = file_sha256(found), git_blob_hash(found)
        if sha256.startswith(INCEPTION_SHA256_PREFIX):
            base = replace(base, pictures=inception_2015(found, device=device))
        elif blob == I3D_GIT_BLOB:
            base = replace(base, clips=i3d_k400(found, device=device))
        else:
            raise BadCheckpoint(
                f"'{path}' is no known feature network: its sha256 is {sha256}, its git blob {blob}. Known: FID's "
                f"{INCEPTION_SOURCE} and FVD's {I3D_SOURCE}. Get one of these, or leave --weights out."
            )
    return base


def i3d_input(videos: Tensor) -> Tensor:
    """uint8 [n, time, 3, h, w] to I3D's float [n, 3, time, 224, 224] in [-1, 1]."""
    n, time = videos.shape[:2]
    frames = videos.flatten(0, 1).float() / 127.5 - 1
    small = functional.interpolate(frames, size=(224, 224), mode="bilinear", align_corners=False, antialias=False)
    return small.unflatten(0, (n, time)).transpose(1, 2).contiguous()


def tf1_bilinear(frames: Tensor, size: int) -> Tensor:
    """Resize float [n, c, h, w] to size x size as TensorFlow 1 does: source = target * scale, corners not aligned."""
    for axis in (3, 2):
        length = frames.shape[axis]
        source = torch.arange(size, dtype=torch.float32, device=frames.device) * (length / size)
        low = source.long()
        high = (low + 1).clamp_max(length - 1)
        share = (source - low).reshape([-1, 1] if axis == 2 else [-1])
        first = frames.index_select(axis, low)
        frames = first + (frames.index_select(axis, high) - first) * share
    return frames


def fid_inception(state: dict[str, Tensor]) -> nn.Module:
    """FID's Inception from its state dict: uint8 [n, 3, h, w] -> float [n, 2048].

    torchvision's blocks, with the pooling of the 2015 TensorFlow graph: averages leave the padding out, and the last
    block takes a maximum.

    Raises:
        BadCheckpoint: if the state does not fit.
    """
    from torchvision.models.inception import Inception3  # slow to import

    network = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BadCheckpoint(
            f"the Inception weights do not fit the 2015 network: {error}. Get the file from {INCEPTION_SOURCE}."
        ) from error
    averaged = ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b")
    for block in averaged:
        setattr(network, f"Mixed_{block}", _Repooled(getattr(network, f"Mixed_{block}"), _average_inside))
    network.Mixed_7c = _Repooled(network.Mixed_7c, _maximum)
    network.fc = nn.Identity()
    return _FidInput(network).eval().requires_grad_(False)


class _Repooled(nn.Module):
    """A torchvision Inception block whose pooling branch pools in another way."""

    def __init__(self, block: Any, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.block, self.pool = block, pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self.block._forward(x)[:-1], self.block.branch_pool(self.pool(x))], dim=1)


class _FidInput(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.network((tf1_bilinear(frames.float(), 299) - 128) / 128)
        return features


def _average_inside(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, kernel_size=3, stride=1, padding=1)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_hash(path: Path) -> str:
    """Git's id of a file's content, hexadecimal: SHA-1 over 'blob <size>' and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _checked_file(path: Path, what: str, source: str) -> Path:
    if not path.is_file():
        raise BadCheckpoint(
            f"'{path}' is not there; it should hold the weights of {what}. Download {source} and pass its path with "
            "--weights FILE, or use the built-in tokenizer features, which need no file."
        )
    return path


def _check_hash(path: Path, got: str, wanted: str, kind: str, source: str) -> None:
    if got != wanted:
        raise BadCheckpoint(
            f"'{path}' is another file: its {kind} {got}, but the published weights' {kind} {wanted}. Get {source}."
        )


def _state(path: Path) -> dict[str, Tensor]:
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _latents(tokenizer: Tokenizer, frames: Array) -> Tensor:
    with torch.inference_mode():
        return tokenizer.encode(frames).double().cpu()


def _latents_of_clip(tokenizer: Tokenizer, video: Array) -> Tensor:
    pieces = range(0, len(video), BATCH_FRAMES)
    return torch.cat([_latents(tokenizer, video[start : start + BATCH_FRAMES]) for start in pieces])


def _picture_pool(latents: Tensor) -> Array:
    return np.asarray(torch.cat([latents.mean(dim=(2, 3)), latents.std(dim=(2, 3), correction=0)], dim=1).numpy())


def _clip_pool(latents: Tensor) -> Array:
    mean = latents.mean(dim=(2, 3))
    spread = latents.std(dim=(2, 3), correction=0)
    change = latents.diff(dim=0).abs().mean(dim=(0, 2, 3))
    return np.asarray(torch.cat([mean.mean(0), spread.mean(0), change, mean.std(0, correction=0)]).numpy())


def _in_batches(compute: Callable[[Array], Array], frames: Array) -> Array:
    starts = range(0, len(frames), BATCH_FRAMES)
    return np.concatenate([compute(np.ascontiguousarray(frames[start : start + BATCH_FRAMES])) for start in starts])
