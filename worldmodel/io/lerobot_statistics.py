"""Statistics of columns and pictures, in the form of `meta/stats.json` of a LeRobot dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldmodel.geometry import Array

IMAGE_STATISTICS_FRAMES = 32  # per episode and camera


def numeric_statistics(values: Array) -> dict[str, Any]:
    """Moments and quantiles of each number of a column over its rows, [rows] or [rows, numbers]."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    quantiles = {f"q{q:02d}": np.quantile(rows, q / 100, axis=0).tolist() for q in (1, 10, 50, 90, 99)}
    moments = {kind: getattr(rows, kind)(axis=0).tolist() for kind in ("min", "max", "mean", "std")}
    return {**moments, "count": [len(rows)], **quantiles}


def image_statistics(video: Array) -> dict[str, Any]:
    """Per channel over a few frames, in [0, 1]; lerobot wants shape [3, 1, 1]."""
    picked = np.unique(np.linspace(0, len(video) - 1, IMAGE_STATISTICS_FRAMES).round().astype(int))
    pixels = video[picked].transpose(1, 0, 2, 3).reshape(3, -1) / 255.0
    moments = {kind: getattr(pixels, kind)(axis=1).reshape(3, 1, 1).tolist() for kind in ("min", "max", "mean", "std")}
    return {**moments, "count": [len(picked)]}


def merged_statistics(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The picture statistics of several episodes as those of all their sampled frames."""
    counts = np.array([part["count"][0] for part in parts], np.float64).reshape(-1, 1, 1, 1)
    means, stds = (np.array([part[kind] for part in parts]) for kind in ("mean", "std"))
    mean = (means * counts).sum(0) / counts.sum()
    variance = ((stds**2 + (means - mean) ** 2) * counts).sum(0) / counts.sum()
    return {
        "min": np.min([part["min"] for part in parts], axis=0).tolist(),
        "max": np.max([part["max"] for part in parts], axis=0).tolist(),
        "mean": mean.tolist(),
        "std": np.sqrt(variance).tolist(),
        "count": [int(counts.sum())],
    }
