"""Does a world model remember? A parked vehicle leaves the view for a while; what stands there when the ego comes back?

The model reads real frames until the vehicle is about to come back, then imagines on along the logged path. Because the
town is simulated, the very pictures that it should show can be rendered, and so can those with one thing changed: another
colour, another kind of vehicle, none at all. The imagined frames agree with the truth in colour (kind, presence) if among
these renderings the true one is the nearest. Nothing is trained for it, and real frames agree by construction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8

from worldmodel.chunks import extended
from worldmodel.clips import Clip
from worldmodel.geometry import Array, Rig, relative
from worldmodel.guidance import FixedGuide
from worldmodel.memory import AnyMemory
from worldmodel.past import Past
from worldmodel.requests import RolloutRequest
from worldmodel.sampling import Sampling
from worldmodel.town.drivers.cast import CAR_COLORS, SIZES
from worldmodel.town.masks import visibility
from worldmodel.town.render import render
from worldmodel.town.scene import Body, Scene, town_rig

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

VISIBLE_M = 35.0  # further away it is four pixels high in pictures of 64 rows
NEAR_M = 25.0  # nearer than this, colour and kind can be told
HIDDEN_SHARE = 0.05  # of its pixels: less is out of sight
CLEAR_SHARE = 0.5  # more is in plain sight
EVERY = 2  # frames between looks
COLORS = 6  # colours that compete, the true one among them
APART_LEVELS = 12.0  # pixels in which the candidates differ by less say nothing


@dataclass(frozen=True, eq=False, kw_only=True)
class Return:
    """A vehicle that comes back into view.

    Attributes:
        scene: Where.
        body: Which of its bodies.
        first: Frame at which the model begins to read.
        now: Frame before which it stops reading and begins to imagine; the vehicle has been out of sight until here.
        judged: Frames after `now` at which the vehicle is near and in plain sight.
        seen_s, gap_s: For how long it was in plain sight before, and then out of sight.
    """

    scene: Scene
    body: int
    first: int
    now: int
    judged: tuple[int, ...]
    seen_s: float
    gap_s: float


def find_return(scene: Scene, *, chunks: int, per_chunk: int, horizon: int, gap_s: float = 8.0) -> Return | None:
    """The first vehicle of a scene that was in plain sight, was out of sight for `gap_s`, and is near again.

    Args:
        chunks: How many chunks of `per_chunk` frames the model reads before it imagines. The first one must not show the
            vehicle, for every memory that has a sink keeps it.
        horizon: Frames after that in which it must be seen.
    """
    frames = range(0, len(scene), EVERY)
    shares = visibility(scene, town_rig(3, 64, 32), frames).max(axis=1)
    for body in range(len(scene.bodies)):
        if scene.body_speeds_mps[:, body].max() > 0 or scene.bodies[body].kind not in ("car", "van"):
            continue
        away = np.array([np.hypot(*relative(scene.ego_poses[f], scene.body_poses[f, body])[:2]) for f in frames])
        visible = (shares[:, body] > HIDDEN_SHARE) & (away < VISIBLE_M)
        clear = (shares[:, body] > CLEAR_SHARE) & (away < NEAR_M)
        found = _comes_back(scene, body, visible, clear, (chunks, per_chunk, horizon, gap_s))
        if found is not None:
            return found
    return None


def _comes_back(
    scene: Scene, body: int, visible: Array, clear: Array, sizes: tuple[int, int, int, float]
) -> Return | None:
    chunks, per_chunk, horizon, gap_s = sizes
    times = np.flatnonzero(visible)
    for before, after in pairwise(times):
        gap = (after - before) * EVERY / scene.frequency_hz
        now = int(after) * EVERY // per_chunk * per_chunk
        first = now - chunks * per_chunk
        looks = clear[-(-first // EVERY) : before + 1]
        judged = [
            f for f in range(now, now + horizon) if f // EVERY < len(clear) and f % EVERY == 0 and clear[f // EVERY]
        ]
        early = visible[max(first, 0) // EVERY : (max(first, 0) + per_chunk) // EVERY]
        if gap < gap_s or first < 0 or now + horizon > len(scene) or early.any() or looks.sum() < 2 or len(judged) < 2:
            continue
        seen_s = float(looks.sum()) * EVERY / scene.frequency_hz
        return Return(
            scene=scene, body=body, first=first, now=now, judged=tuple(judged), seen_s=seen_s, gap_s=float(gap)
        )
    return None


# -- what it should look like, and what else it could ---------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Looks:
    """Renderings of the judged frames, the true one first, uint8 [candidate, frame, camera, 3, height, width] each.

    Attributes:
        colors: The vehicle in several colours.
        kinds: As it is, and as the other kind of vehicle.
        presence: As it is, and without it.
    """

    colors: UInt8[Array, "candidate frame camera 3 height width"]
    kinds: UInt8[Array, "candidate frame camera 3 height width"]
    presence: UInt8[Array, "candidate frame camera 3 height width"]

    def agreement(self, frames: UInt8[Array, "frame camera 3 height width"]) -> dict[str, float]:
        """1 where the true look is the nearest to the frames, else 0: of 'color', 'kind' and 'presence'."""
        told = {"color": self.colors, "kind": self.kinds, "presence": self.presence}
        return {name: float(nearest(frames, looks) == 0) for name, looks in told.items()}


def nearest(frames: Array, looks: Array) -> int:
    """Which of the looks [candidate, ...] is nearest to the frames [...], where they differ; -1 if they never do.

    Pixels in which no two looks differ by APART_LEVELS say nothing and do not count.
    """
    values = looks.astype(np.float64)
    telling = np.ptp(values, axis=0) >= APART_LEVELS
    if not telling.any():
        return -1
    apart = np.square(values - frames.astype(np.float64))[:, telling].mean(axis=1)
    return int(np.argmin(apart))


def looks_of(found: Return, rig: Rig) -> Looks:
    """Renders the candidates."""

    def rendered(bodies: Sequence[Body | None]) -> Array:
        return np.stack([render(_with(found, body), rig, found.judged).rgb for body in bodies])

    body = found.scene.bodies[found.body]
    true = rendered([body])
    colors = [replace(body, color_rgb=color) for color in other_colors(body.color_rgb)]
    return Looks(
        colors=np.concatenate([true, rendered(colors)]),
        kinds=np.concatenate([true, rendered([_other_kind(body)])]),
        presence=np.concatenate([true, rendered([None])]),
    )


def other_colors(true: tuple[float, float, float]) -> list[tuple[float, float, float]]:
    """COLORS - 1 paints of vehicles, each as far as can be from the true colour and from one another."""
    taken = [true]
    while len(taken) < COLORS:
        apart = [min(float(np.linalg.norm(np.subtract(color, other))) for other in taken) for color in CAR_COLORS]
        taken.append(CAR_COLORS[int(np.argmax(apart))])
    return taken[1:]


def _other_kind(body: Body) -> Body:
    kind = "van" if body.kind == "car" else "car"
    (length, _), (width, _), (height, _) = SIZES[kind]
    return replace(body, kind=kind, length_m=length, width_m=width, height_m=height)


def _with(found: Return, body: Body | None) -> Scene:
    """The scene with that body in the place of the one that comes back; None: nobody stands there."""
    scene, place = found.scene, found.body
    if body is None:
        present = scene.body_present.copy()
        present[:, place] = False
        return replace(scene, body_present=present)
    return replace(scene, bodies=(*scene.bodies[:place], body, *scene.bodies[place + 1 :]))


# -- reading and imagining --------------------------------------------------------------------------------------------


@torch.no_grad()
def imagined_returns(
    model: "WorldModel", clips: Sequence[Clip], memory: AnyMemory, *, read: int, sampling: Sampling
) -> tuple[Array, Past]:
    """Read the first `read` frames of clips into a memory, then imagine the rest along their logged motion.

    Returns:
        Frames uint8 [clip, imagined, camera, 3, height, width], and the past from which they were imagined.
    """
    per, hertz = model.per_chunk, clips[0].frequency_hz
    motions = [clip.motion for clip in clips]
    drives = [motion[per - 1 :].trajectory() for motion in motions if motion is not None]
    request = RolloutRequest(
        frames=per,
        seeds=tuple(range(len(clips))),
        guides=(FixedGuide(text=""),) * len(clips),
        sampling=replace(sampling, history_noise=0.0),
    )
    past = model.remember([clip.observation((per - 1) / hertz, per / hertz) for clip in clips], memory)
    for start in range(per, read, per):
        video = np.stack([clip.video[start : start + per] for clip in clips])
        latents = torch.stack([model.tokenizer.encode_video(frames) for frames in video])
        steps = model.normalised_steps(
            np.stack([motion.deltas[start - 1 : start + per - 1] for motion in motions if motion is not None])
        )
        past = extended(model, past, request, latents, steps, model.recall(past))
        past = past.shown(video, [""] * len(clips))
    rollouts = model.go_on(
        past,
        seconds=(len(clips[0]) - read) / hertz,
        seeds=request.seeds,
        actions=drives,
        guides=request.guides,
        sampling=sampling,
    )
    return np.stack([rollout.video for rollout in rollouts]), past


def mean_agreement(rows: Sequence[dict[str, float]]) -> dict[str, Float[Array, " scene"]]:
    """One value per scene, by name."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
