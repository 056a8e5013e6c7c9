"""Pictures in other sizes."""

import numpy as np
import torch
from torch.nn import functional

from worldmodel.geometry import Array


def resize_video(video: Array, width_px: int, height_px: int) -> Array:
    """Resize uint8 pictures [..., 3, h, w] with antialiased bilinear interpolation; unchanged when the size fits."""
    if video.shape[-2:] == (height_px, width_px):
        return video
    flat = torch.from_numpy(np.ascontiguousarray(video.reshape(-1, *video.shape[-3:]))).float()
    small = functional.interpolate(flat, (height_px, width_px), mode="bilinear", antialias=True, align_corners=False)
    return small.round().clamp(0, 255).to(torch.uint8).numpy().reshape(*video.shape[:-2], height_px, width_px)
