"""Where patches of one frame went in the next: normalised cross-correlation on a grid, as features of a motion reader.

Correlation of patches without their mean and size does not care for brightness, contrast or colour, so a picture that
is darker or softer than a true one still moves as it moves.
"""

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from worldmodel.geometry import Array

PATCH = 7  # side of a patch in pictures at half size
HEIGHT, WIDTH = 32, 64  # of these
ROWS, COLUMNS = range(4, 31, 3), range(3, 62, 5)  # middles of the patches
UP, DOWN, ASIDE = 4, 10, 10  # how far a patch is looked for
FAINT = 0.05  # a patch with less contrast than this matches nothing well
SHARPNESS = (8.0, 30.0)  # of the soft maximum: one wide, one narrow
CELL = 4.0  # pixels that make 1 in a feature
PER_PATCH = 2 + 2 * len(SHARPNESS)
FEATURES = len(ROWS) * len(COLUMNS) * PER_PATCH  # per camera


def matches(video: UInt8[Array, "time camera 3 64 128"] | Tensor) -> Float[Tensor, "pairs f"]:
    """Features of consecutive frames: per patch the best correlation, two soft places of it, and that of standing still."""
    frames = torch.as_tensor(np.array(video)).float().mean(2) / 255
    described = (_described(grey) for grey in functional.avg_pool2d(frames, 2))
    return torch.stack([_features(correlations(first, second)) for first, second in pairwise(described)])


def _features(volume: Float[Tensor, "camera patch move"]) -> Float[Tensor, " f"]:
    moves = _moves()
    found = [volume.amax(-1)]
    for sharpness in SHARPNESS:
        place = (volume * sharpness).softmax(-1) @ moves / CELL
        found += [place[..., 0], place[..., 1]]
    found.append(volume[..., _still()])
    return torch.stack(found, dim=-1).flatten()


def correlations(
    first: Float[Tensor, "camera d h w"], second: Float[Tensor, "camera d h w"]
) -> Float[Tensor, "camera patch move"]:
    """Correlation of every described patch of one frame with the next frame at every move (rows, then columns)."""
    b = functional.pad(second, (ASIDE, ASIDE, UP, DOWN))
    index = _windows(b.shape[-1])
    found = []
    for row in ROWS:
        patches = first[:, :, row][:, :, list(COLUMNS)].transpose(1, 2)
        strip = b[:, :, row : row + UP + DOWN + 1].flatten(2)
        found.append((patches @ strip).gather(2, index.expand(len(first), -1, -1)))
    return torch.cat(found, dim=1)


def _described(grey: Float[Tensor, "camera h w"]) -> Float[Tensor, "camera d h w"]:
    """Around every pixel a patch without its mean and size."""
    padded = functional.pad(grey[:, None], (PATCH // 2,) * 4, mode="replicate")
    patches = functional.unfold(padded, PATCH)
    patches = patches - patches.mean(1, keepdim=True)
    patches = patches / (patches.norm(dim=1, keepdim=True) + FAINT)
    return patches.reshape(len(grey), PATCH * PATCH, *grey.shape[1:])


@cache
def _moves() -> Float[Tensor, "move 2"]:
    down, right = torch.meshgrid(torch.arange(-UP, DOWN + 1), torch.arange(-ASIDE, ASIDE + 1), indexing="ij")
    return torch.stack([down.flatten(), right.flatten()], dim=1).float()


def _still() -> int:
    return UP * (2 * ASIDE + 1) + ASIDE


@cache
def _windows(width: int) -> Tensor:
    """Where in a flattened strip the window of each patch lies, [1, columns, moves]."""
    down = torch.arange(UP + DOWN + 1)[:, None] * width
    right = torch.arange(2 * ASIDE + 1)[None]
    window = (down + right).flatten()
    return (torch.tensor(list(COLUMNS))[:, None] + window)[None]
