"""Do the cameras agree? Colours of the same ground as two overlapping cameras show it, through the rig's calibration.

Only the ground is compared: where a ray below the horizon meets it is known exactly, so that two calibrated cameras must show
one colour there. Whatever stands upright has an unknown depth and is left out; where it hides the ground from one camera, real
clips disagree too, which is why the level of real clips belongs beside every number. A camera that shares no ground with
another is said to be alone; it never counts as zero.

Source: own definition. The ground plane as in inverse perspective mapping (Mallot et al., Biological Cybernetics 64, 1991); the
number is one minus Lin's concordance correlation (Biometrics 45, 1989), so that a blurred or pale video cannot look consistent
by having little to disagree about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from eval_fid_fvd.cards import Score
from eval_fid_fvd.per_clip import per_clip_score
from eval_fid_fvd.statistics import RESAMPLES
from worldmodel.errors import BadRequest, BadRig, BadVideo
from worldmodel.geometry import Array, Camera, Rig

GROUND_M = 60.0  # farther ground is thinner than a pixel
FEWEST = 16  # places of common ground below which two cameras count as not overlapping
METRIC = "VIEW DISAGREEMENT"
RULE = (
    f"1 - concordance correlation of RGB at ground up to {GROUND_M:g} m that two cameras see, bilinear, both ways, all frames "
    "of a clip as one; mean over pairs of cameras, then clips; 0 agree, 1 unrelated"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class CommonGround:
    """Where two cameras see the same ground.

    Attributes:
        pair: Their places in the rig.
        names: Their names.
        there: Whole pixels (column, row) of the first camera, then where the second camera's own whole pixels lie in it, [n, 2].
        here: The same places in the second camera, [n, 2].
    """

    pair: tuple[int, int]
    names: tuple[str, str]
    there: Float[Array, "n 2"]
    here: Float[Array, "n 2"]

    def __len__(self) -> int:
        return len(self.there)

    @property
    def name(self) -> str:
        """Both cameras, such as 'front_left+front'."""
        return "+".join(self.names)


@dataclass(frozen=True, eq=False, kw_only=True)
class Overlaps:
    """All pairs of cameras of a rig that share ground.

    Attributes:
        rig: The rig, at the size of the pictures.
        pairs: At least one.
        alone: Names of the cameras that share ground with no other.
    """

    rig: Rig
    pairs: tuple[CommonGround, ...]
    alone: tuple[str, ...]


def overlaps_of(rig: Rig) -> Overlaps:
    """The ground that pairs of cameras share.

    Raises:
        BadRig: if no two cameras share any; there is nothing to compare, which is not agreement.
    """
    cameras = rig.cameras
    found = [_common(rig, a, b) for a in range(len(cameras)) for b in range(a + 1, len(cameras))]
    pairs = tuple(ground for ground in found if len(ground) >= FEWEST)
    if not pairs:
        raise BadRig(
            f"no two of the cameras {', '.join(rig.names)} see the same ground (fewer than {FEWEST} pixels); their agreement "
            "is not defined. Leave the consistency score out, or use a rig with overlapping cameras."
        )
    seen = {name for ground in pairs for name in ground.names}
    return Overlaps(rig=rig, pairs=pairs, alone=tuple(name for name in rig.names if name not in seen))


def disagreement(video: UInt8[Array, "time camera 3 h w"], overlaps: Overlaps) -> Float[Array, " pairs"]:
    """How much each pair of cameras disagrees in one clip, [pairs]; 0 for equal colours, 1 for unrelated ones, at most 2.

    NaN for a pair that shows one flat colour everywhere: it neither agrees nor disagrees.

    Raises:
        BadVideo: if the video does not belong to the rig.
    """
    return np.array([_apart(*sides) for sides in _colours(video, overlaps)])


def disagreement_of_strangers(
    video: UInt8[Array, "time camera 3 h w"], other: UInt8[Array, "time camera 3 h w"], overlaps: Overlaps
) -> Float[Array, " pairs"]:
    """The same between the first cameras of one clip and the second cameras of another: what no agreement at all gives."""
    mine, others = _colours(video, overlaps), _colours(other, overlaps)
    return np.array([_apart(a, b) for (a, _), (_, b) in zip(mine, others, strict=True)])


def consistency_scores(
    made: Float[Array, "clips pairs"],
    overlaps: Overlaps,
    card: Mapping[str, Any],
    *,
    real: Float[Array, "m pairs"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Score]:
    """Scores from `disagreement` of every clip: 'pooled' over the pairs of cameras, and each pair by its name.

    Args:
        made: One row per clip. Clips that are NaN in a pair are left out there, and counted in the card.
        card: Lines that only the caller knows: frames, frequency_hz, condition_frames, codec, device.
        real: The same of real clips, the level that stands beside each number.
    Raises:
        BadRequest: for rows that do not fit the rig, or if no clip is defined in one of the pairs.
    """
    ours, level = _checked(made, overlaps), None if real is None else _checked(real, overlaps)
    names = [ground.name for ground in overlaps.pairs]
    columns: dict[str, list[int]] = {"pooled": list(range(len(names)))} | {name: [i] for i, name in enumerate(names)}
    return {
        name: per_clip_score(
            ours[:, own].mean(axis=1),
            {**card, **_lines(name, overlaps)},
            level=None if level is None else level[:, own].mean(axis=1),
            resamples=resamples,
            seed=seed,
        )
        for name, own in columns.items()
    }


def _lines(name: str, overlaps: Overlaps) -> dict[str, Any]:
    """What the rig says on the card."""
    pooled = name == "pooled"
    notes = ["the rig is assumed, not calibrated: real clips disagree too"] * overlaps.rig.nominal
    notes += [f"no common ground: {', '.join(overlaps.alone)}"] * bool(overlaps.alone and pooled)
    return {
        "metric": METRIC,
        "cameras": ", ".join(ground.name for ground in overlaps.pairs) if pooled else name,
        "size": f"{overlaps.rig.width_px}x{overlaps.rig.height_px}",
        "value_range": "levels of 255",
        "rule": RULE,
        "notes": tuple(notes),
    }


def _checked(rows: Array, overlaps: Overlaps) -> Array:
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or values.shape[1] != len(overlaps.pairs):
        raise BadRequest(
            f"disagreements are {list(values.shape)}; they must be [clips, {len(overlaps.pairs)} pairs]. Stack `disagreement` of "
            "every clip with the same rig."
        )
    return values


def _common(rig: Rig, a: int, b: int) -> CommonGround:
    first, second = rig.cameras[a], rig.cameras[b]
    (there, seen_here), (here, seen_there) = _ground_seen(first, second), _ground_seen(second, first)
    return CommonGround(
        pair=(a, b),
        names=(first.name, second.name),
        there=np.concatenate([there, seen_there]),
        here=np.concatenate([seen_here, here]),
    )


def _ground_seen(camera: Camera, other: Camera) -> tuple[Array, Array]:
    """Whole pixels [n, 2] of a camera that show ground which another sees, and where the other sees it."""
    origin, directions = camera.rays()
    rays = directions.reshape(-1, 3)
    below = rays[:, 2] < 0
    way = np.where(below, -origin[2] / np.where(below, rays[:, 2], -1.0), 0.0)
    near = below & (way * np.linalg.norm(rays[:, :2], axis=1) <= GROUND_M)
    pixels, depth, _ = other.project(origin + rays * way[:, None])
    inside = (pixels >= 0).all(axis=1) & (pixels <= (other.width_px - 1, other.height_px - 1)).all(axis=1)
    kept = np.flatnonzero(near & inside & (depth > 0))
    own = np.stack([kept % camera.width_px, kept // camera.width_px], axis=1)
    return own.astype(np.float64), pixels[kept]


def _colours(video: Array, overlaps: Overlaps) -> list[tuple[Array, Array]]:
    """For each pair the colours [time, 3, n] that both cameras show."""
    rig = overlaps.rig
    wanted = (len(rig), 3, rig.height_px, rig.width_px)
    if video.dtype != np.uint8 or video.ndim != 5 or video.shape[1:] != wanted or not len(video):
        raise BadVideo(
            f"the video is {video.dtype} {video.shape}, but the rig has uint8 [time, {', '.join(map(str, wanted))}]. Call "
            "`rig.scaled` for pictures of another size."
        )
    return [
        (_sampled(video[:, ground.pair[0]], ground.there), _sampled(video[:, ground.pair[1]], ground.here))
        for ground in overlaps.pairs
    ]


def _sampled(frames: UInt8[Array, "time 3 h w"], places: Float[Array, "n 2"]) -> Float[Array, "time 3 n"]:
    """Bilinear values between pixel centres."""
    height, width = frames.shape[-2:]
    corner: Int[Array, "n 2"] = np.clip(places.astype(np.int64), 0, (max(width - 2, 0), max(height - 2, 0)))
    right, down = (places - corner).T
    u, v = corner.T
    u1, v1 = np.minimum(u + 1, width - 1), np.minimum(v + 1, height - 1)
    upper = frames[..., v, u] * (1 - right) + frames[..., v, u1] * right
    lower = frames[..., v1, u] * (1 - right) + frames[..., v1, u1] * right
    return np.asarray(upper * (1 - down) + lower * down)


def _apart(x: Array, y: Array) -> float:
    """One minus the concordance correlation; NaN where nothing varies."""
    size = min(len(x), len(y))
    x, y = x[:size], y[:size]
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(np.mean((x - y) ** 2) / spread) if spread > 0 else float("nan")
