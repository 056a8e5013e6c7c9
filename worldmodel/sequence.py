"""What the network reads and says: parts of a token sequence as values, and how rays and noise times become features.

Shape suffixes: B batch, F frames, C cameras, K chunks, L text tokens.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from worldmodel.attention import Cells
from worldmodel.errors import BadCheckpoint, UnknownName
from worldmodel.geometry import Rig
from worldmodel.memory import ChunkEntry

RAY_OCTAVES = 4
RAY_FEATURES = 6 + 3 * 2 * RAY_OCTAVES
TIME_OCTAVES = 6
MAX_SIZE = 16384
TIME_FEATURES = 1 + 2 * TIME_OCTAVES
VIEW_ATTENTION = ("all", "factorised")
JUMP_OCTAVES = 5
SCALES = 3
JUMP_FEATURES = JUMP_OCTAVES + SCALES


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        latent_channels, latent_height, latent_width: Shape of one frame's latents.
        patch: Latent cells per token and side.
        frames_per_chunk: Frames generated at once.
        width, action_width, guidance_width: Token widths of the three experts.
        layers, heads, head_size, mlp_ratio: Shared by all experts.
        adaln_rank: Rank of the adaptive layer norms.
        text_width: Width of the frozen text features.
        plan_poses: Poses in a plan.
        oldest_frames: Largest age, in frames, that was trained.
        view_attention: 'all': video tokens read all cameras at all times. 'factorised', for large rigs: their own camera at any
            time and the other cameras in their own frame.
    """

    latent_channels: int = 16
    latent_height: int = 4
    latent_width: int = 8
    patch: int = 2
    frames_per_chunk: int = 4
    width: int = 192
    action_width: int = 96
    guidance_width: int = 64
    layers: int = 6
    heads: int = 6
    head_size: int = 32
    mlp_ratio: int = 4
    adaln_rank: int = 32
    text_width: int = 384
    plan_poses: int = 8
    oldest_frames: int = 32
    view_attention: str = "all"

    def __post_init__(self) -> None:
        if self.view_attention not in VIEW_ATTENTION:
            raise UnknownName("view attention", str(self.view_attention), VIEW_ATTENTION)
        sizes = {name: value for name, value in asdict(self).items() if name != "view_attention"}
        for name, value in sizes.items():
            if not (isinstance(value, int) and 1 <= value <= MAX_SIZE):
                raise BadCheckpoint(
                    f"the network's {name} is {value!r}; it must be a whole number from 1 to {MAX_SIZE}. "
                    "Use an unmodified checkpoint, or correct the preset."
                )
        if self.latent_height % self.patch or self.latent_width % self.patch or self.head_size % 2:
            raise BadCheckpoint(
                f"latents of {self.latent_height}x{self.latent_width} with patch {self.patch} and head_size {self.head_size}: "
                "patches must fill the latents and the head size must be even. Correct the preset."
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens per picture."""
        return self.latent_height // self.patch, self.latent_width // self.patch


@dataclass(frozen=True, eq=False, kw_only=True)
class FramesPart:
    """Video and steps of some frames, either clean or being denoised.

    Attributes:
        frames: Frame numbers, int64 [F], whole chunks.
        clean: Whether this is the copy that memory is made of.
        steps: Normalised steps into each frame [B, F, 3]; None if the steps are absent.
        steps_time: Noise time of each step [B, F]; 1 says "unknown".
        video: Latents [B, F, C, channels, h, w]; None if the video is absent.
        video_time: Noise time of each frame's video [B, F].
        video_present: Per sample whether the video takes part [B], bool; None means all do.
        view: Latents of the last remembered frame as it would look from each frame (`worldmodel.warping`), shaped like
            `video`; only where the steps are given. None: no such view.
        view_known: Per sample whether `view` may be read [B], bool; None means all may.
        video_jump, steps_jump: How far a sampler will go with the answer, in noise time [B, F]; 0 or None asks for the slope
            itself. Only distilled networks listen.
    """

    frames: Tensor
    clean: bool
    steps: Tensor | None = None
    steps_time: Tensor | None = None
    video: Tensor | None = None
    video_time: Tensor | None = None
    video_present: Tensor | None = None
    view: Tensor | None = None
    view_known: Tensor | None = None
    video_jump: Tensor | None = None
    steps_jump: Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanPart:
    """Plans being denoised, one for each chunk number in `chunks` [K].

    Attributes:
        values: Normalised poses [B, K, poses, 3]. time: Their noise times [B, K].
        staleness: How many whole chunks the newest memory that a plan may read is older than the chunk before it [B, K], int64;
            None means that all of it may be read.
        jump: How far a sampler will go with the answer [B, K], see `FramesPart`.
    """

    chunks: Tensor
    values: Tensor
    time: Tensor
    staleness: Tensor | None = None
    jump: Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class GuidancePart:
    """Text features [B, K, L, text_width] and which tokens are real [B, K, L], for the chunks [K]."""

    chunks: Tensor
    features: Tensor
    valid: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenSequence:
    """All that the network reads at once.

    Attributes:
        frames: Parts with video and steps.
        rays: Camera rays of every token position [B, C, rows, columns, RAY_FEATURES]; None without video.
        period_s: Seconds between frames [B].
        scales: Guidance scales (history, motion, text) whose answer is asked for in one pass [B, 3]; None means 1. Only
            distilled networks listen.
    """

    frames: tuple[FramesPart, ...]
    period_s: Tensor
    rays: Tensor | None = None
    plan: PlanPart | None = None
    guidance: GuidancePart | None = None
    scales: Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Output:
    """Velocities of what was being denoised, in the shapes of the inputs; None for what was absent."""

    video: Tensor | None
    steps: Tensor | None
    plan: Tensor | None
    entry: ChunkEntry | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Recall:
    """What one chunk may look at besides itself: the memory, and texts that were read ahead of it.

    Attributes:
        keys, values: Rotated, per layer [B, heads, S, head size].
        cells: What the S cells are.
        valid: Which of them each sample may read, bool [B, S]; None means all.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    cells: Cells
    valid: Tensor | None = None

    def joined(self, other: "Recall") -> "Recall":
        """This and the other, to be read together."""
        pairs = zip((self.keys, self.values), (other.keys, other.values), strict=True)
        keys, values = (tuple(torch.cat(x, dim=2) for x in zip(*pair, strict=True)) for pair in pairs)
        known = self.valid is not None or other.valid is not None
        valid = torch.cat([self._all_valid(), other._all_valid()], dim=1) if known else None
        return Recall(keys=keys, values=values, cells=Cells.joined([self.cells, other.cells]), valid=valid)

    def _all_valid(self) -> Tensor:
        if self.valid is not None:
            return self.valid
        keys = self.keys[0]
        return torch.ones(keys.shape[0], keys.shape[2], dtype=torch.bool, device=keys.device)


def ray_features(rig: Rig, grid: tuple[int, int]) -> Tensor:
    """Origin, direction and sines of the direction for every token of every camera, [C, rows, columns, RAY_FEATURES]."""
    rows, columns = grid
    origins, directions = rig.scaled(columns, rows).rays()
    d = torch.from_numpy(directions).float()
    o = torch.from_numpy(origins).float()[:, None, None, :].expand_as(d) / 2
    waves = [f(d * torch.pi * 2**i) for i in range(RAY_OCTAVES) for f in (torch.sin, torch.cos)]
    return torch.cat([d, o, *waves], dim=-1)


def time_features(time: Tensor) -> Tensor:
    """Noise times in [0, 1] as sines and cosines, [..., TIME_FEATURES]."""
    waves = [f(time[..., None] * torch.pi * 2.0**i) for i in range(TIME_OCTAVES) for f in (torch.sin, torch.cos)]
    return torch.cat([time[..., None], *waves], dim=-1)


def jump_features(jump: Tensor | None, time: Tensor, scales: Tensor | None, *, clean: bool) -> Tensor:
    """What a distilled network is told of its task, [*time.shape, JUMP_FEATURES]; zeros for a slope with scales of 1.

    One hat function for each halving of the jump (1, 1/2, ... 1/16; a jump of 1/32 or less is a slope), then the guidance
    scales less 1. Clean copies are memory: nothing is asked of them.

    Args:
        jump: Step sizes in noise time, shaped like `time`; None means 0.
        scales: Guidance scales [B, 3]; None means 1.
    """
    features = time.new_zeros(*time.shape, JUMP_FEATURES)
    if clean:
        return features
    if jump is not None:
        octave = torch.log2(jump.clamp(min=2.0**-JUMP_OCTAVES)).neg()[..., None]
        levels = torch.arange(JUMP_OCTAVES, device=time.device)
        features[..., :JUMP_OCTAVES] = (1 - (octave - levels).abs()).clamp(min=0)
    if scales is not None:
        features[..., JUMP_OCTAVES:] = (scales - 1)[:, None]
    return features
