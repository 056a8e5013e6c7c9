"""What does a planner change when one patch of the pictures is grey? The plainest cross-check of a heat map.

A patch covers one latent cell in one camera, in all pictures that are seen. The effect is the mean distance between the plans
with and without it, in metres; the noise is shared, so it is the patch's doing alone.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (arXiv 1311.2901).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from policy.answers import Draw, Output
from policy.learned import LearnedPlanner
from policy.plan_diffusion import TRAIN_STEPS, noisy_plans, plan_noise
from policy.planner import Planner
from policy.saliency import visual_layers
from policy.seeing import Seen, repeated
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array
from worldmodel.observing import at_rate
from worldmodel.pictures import resize_video
from worldmodel.plans import Observation

GREY = 128
GRID = (4, 8)  # patches per camera for planners without a grid of their own
AT_ONCE = 32  # patched scenes that a network reads at a time


@dataclass(frozen=True, eq=False, kw_only=True)
class Patches:
    """Latents of one scene's pictures with a grey patch on each cell in turn, cameras first, then rows, then columns.

    Attributes:
        values: Of the patch's own camera [patch, picture, channel, h, w]; the other cameras stay as they were.
    """

    values: Tensor

    def on(self, cells: Tensor, first: int, last: int) -> Tensor:
        """Cells [1, picture, camera, channel, h, w] with the patches first ... last - 1, one each."""
        each = len(self.values) // cells.shape[2]
        patched = cells.repeat(last - first, 1, 1, 1, 1, 1)
        for row, patch in enumerate(range(first, last)):
            patched[row, :, patch // each] = self.values[patch]
        return patched


def patches_of(planner: LearnedPlanner, observation: Observation) -> Patches:
    """What the planner would see with each patch; the same for all planners with its tokenizer, grid and rate.

    Raises:
        NotApplicable: for a planner without pixels.
    """
    visual_layers(planner.network)
    config, tokenizer = planner.config, planner.eyes.tokenizer
    assert tokenizer is not None
    observation = at_rate(observation, config.frequency_hz)
    newest, stride = len(observation.video) - 1, tokenizer.config.stride
    pictures = resize_video(
        observation.video[[newest - age for age in config.history_frames]], *planner.eyes.picture_size
    )
    found = []
    for camera in range(config.cameras):
        hidden = np.repeat(pictures[None, :, camera], config.rows * config.columns, axis=0)
        for patch in range(len(hidden)):
            row, column = divmod(patch, config.columns)
            hidden[patch, ..., row * stride : (row + 1) * stride, column * stride : (column + 1) * stride] = GREY
        latents = tokenizer.encode(hidden.reshape(-1, *hidden.shape[2:]))
        found.append(latents.unflatten(0, hidden.shape[:2]))
    return Patches(values=torch.cat(found))


@torch.no_grad()
def patch_effects(
    planner: LearnedPlanner, seen: Seen, patches: Patches, *, samples: int = 4
) -> Float[Array, "camera h w"]:
    """Mean distance in metres between the plans of a scene with and without a patch on each cell.

    Args:
        seen: The scene without a patch, a batch of one.
        samples: Noises whose plans are averaged. A diffusion says its plans in one step from pure noise here, which is its mean
            plan; 8 steps for each of 96 patches would take minutes.
    """
    plain = _plans(planner, seen, samples)
    count, effects = len(patches.values), []
    for first in range(0, count, AT_ONCE):
        cells = patches.on(seen.cells, first, min(first + AT_ONCE, count))
        plans = _plans(planner, replace(repeated(seen, len(cells)), cells=cells), samples)
        effects.append(np.linalg.norm((plans - plain)[..., :2], axis=-1).mean(axis=-1))
    config = planner.config
    return np.concatenate(effects).reshape(config.cameras, config.rows, config.columns)


def _plans(planner: LearnedPlanner, seen: Seen, samples: int) -> Float[Array, "b 8 3"]:
    """Plans in metres and radians."""
    count, kind = len(seen.ego), planner.config.kind
    if kind == "refiner":  # the coarse plan as it is, refined once
        still = Draw(factors=torch.zeros(count, 2), time=torch.ones(count))
        return planner.poses(_poses(planner.network(seen, still)))
    if not kind.startswith("ik") or kind == "ik-pooled":
        return planner.poses(_poses(planner.network(seen, Draw())))
    noise = plan_noise(0, samples).expand(count, -1, -1, -1)
    times = torch.full((count, samples), TRAIN_STEPS - 1)
    velocity = planner.network(seen, Draw(plan=noise, time=times)).velocity
    clean = noisy_plans(noise.flatten(0, 1), -velocity.flatten(0, 1), times.flatten())  # the same two factors
    return planner.poses(clean.unflatten(0, (count, samples)).mean(dim=1))


def _poses(output: Output) -> Tensor:
    assert output.poses is not None
    return output.poses


def patch_effects_on(
    planner: Planner, observation: Observation, grid: tuple[int, int] = GRID, *, seed: int = 0
) -> Float[Array, "camera h w"]:
    """`patch_effects` of any planner, asked once per patch: slow, and with all that it does.

    Args:
        grid: Rows and columns of patches in each camera, as equal as pixels allow.
        seed: Of every plan.
    Raises:
        BadRequest: if the grid is finer than the pictures.
    """
    *_, effects = effects_patch_by_patch(planner, observation, grid, seed=seed)
    return effects


def effects_patch_by_patch(
    planner: Planner, observation: Observation, grid: tuple[int, int] = GRID, *, seed: int = 0
) -> Iterator[Float[Array, "camera h w"]]:
    """The map of `patch_effects_on` after each patch, zero where none was yet; for those who want to see it grow, or stop.

    Raises:
        BadRequest: as `patch_effects_on`.
    """
    rows, columns = grid
    cameras, (height, width) = observation.video.shape[1], observation.video.shape[-2:]
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise BadRequest(
            f"a grid of {rows} rows and {columns} columns on pictures of {width} x {height} was asked for; patches must be a pixel "
            "or more. Choose a coarser one."
        )
    down, across = (
        np.linspace(0, size, count + 1).round().astype(int) for size, count in ((height, rows), (width, columns))
    )
    plain = planner.plan(observation, seed).trajectory.poses
    effects = np.zeros((cameras, rows, columns))
    for camera, row, column in np.ndindex(effects.shape):
        video = observation.video.copy()
        video[:, camera, :, down[row] : down[row + 1], across[column] : across[column + 1]] = GREY
        plan = planner.plan(replace(observation, video=video), seed).trajectory.poses
        effects[camera, row, column] = np.linalg.norm((plan - plain)[:, :2], axis=1).mean()
        yield effects.copy()
