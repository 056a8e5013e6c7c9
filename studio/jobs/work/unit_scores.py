"""Scores of one unit against what followed in its recording: pictures as they are made, paths at the end."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval_fid_fvd.images import WINDOW_PX, psnr_of_frames, ssim_of_frames
from eval_fid_fvd.planning import ade_fde
from studio.demo import plan_errors
from studio.jobs.work.clip_reader import Recording
from studio.jobs.work.sinks import Piece
from worldmodel.geometry import Array, Trajectory
from worldmodel.pictures import resize_video
from worldmodel.plans import Plan

PICTURE_METRICS = ("psnr", "ssim")
REPEAT = "repeat"  # the baseline: the newest frame, held

Sums = dict[str, tuple[float, int]]


@dataclass(eq=False, kw_only=True)
class PictureScores:
    """PSNR and SSIM of imagined pictures against recorded ones; a `studio.jobs.work.sinks.Sink`. Cameras and frames count alike.

    What was recorded is read a chunk at a time, so an hour needs no more memory than a second.

    Attributes:
        recording: What followed.
        metrics: Of PICTURE_METRICS.
        sums: Once joined, by name ('psnr', 'psnr:repeat') the sum over pictures and their number.
        name: Of its parts.
        seconds: What the comparing took.
    """

    recording: Recording
    metrics: tuple[str, ...]
    sums: Sums = field(default_factory=dict)
    name: str = "scores.json"
    seconds: float = 0.0

    @contextmanager
    def writing(self, part: Path) -> Iterator[Callable[[Piece], None]]:
        """The sums over the pictures of one part."""
        sums: Sums = {}
        yield lambda piece: _add(sums, self._of(piece))
        part.write_text(json.dumps(sums), encoding="utf-8")

    def join(self, parts: Iterable[Path]) -> None:
        """Add up the sums of all parts, in order."""
        for part in parts:
            _add(self.sums, json.loads(part.read_text(encoding="utf-8")))

    def values(self) -> dict[str, float]:
        """Means by name; empty where nothing could be compared."""
        return {name: total / count for name, (total, count) in sorted(self.sums.items()) if count}

    def pictures(self) -> int:
        """How many pictures were compared."""
        return max((count for _, count in self.sums.values()), default=0)

    def _of(self, piece: Piece) -> Sums:
        started = time.perf_counter()
        found = self._compared(piece)
        self.seconds += time.perf_counter() - started
        return found

    def _compared(self, piece: Piece) -> Sums:
        height, width = piece.video.shape[-2:]
        truth = self.recording.truth(piece.first, len(piece.video), width, height)
        if not len(truth):
            return {}
        imagined, real = (side.reshape(-1, *side.shape[2:]) for side in (piece.video[: len(truth)], truth))
        found: Sums = {}
        for metric in self.metrics:
            if metric != "ssim" or min(height, width) >= WINDOW_PX:
                found[metric] = _sum(metric, imagined, real)
                found[f"{metric}:{REPEAT}"] = self._held(metric, piece.first, truth)
        return found

    def _held(self, metric: str, first: int, truth: Array) -> tuple[float, int]:
        """The baseline's; the same for all rollouts of this moment."""
        key = (metric, first, truth.shape)
        if key not in self.recording.measured:
            newest = resize_video(self.recording.moment.clip.video[-1], truth.shape[-1], truth.shape[-2])
            held = np.broadcast_to(newest, truth.shape)
            self.recording.measured[key] = _sum(metric, *(side.reshape(-1, *truth.shape[2:]) for side in (held, truth)))
        return self.recording.measured[key]


def _sum(metric: str, a: Array, b: Array) -> tuple[float, int]:
    values = (psnr_of_frames if metric == "psnr" else ssim_of_frames)(a, b)
    return float(values.sum()), len(values)


def _add(sums: Sums, more: Sums) -> None:
    for name, (total, count) in more.items():
        before = sums.get(name, (0.0, 0))
        sums[name] = before[0] + total, before[1] + count


def path_scores(imagined: Trajectory | None, driven: Trajectory | None, plans: Mapping[str, Plan]) -> dict[str, float]:
    """Mean and last distance to the path driven, metres: 'ade' and 'fde' of what was imagined, 'ade:NAME' of plans.

    An imagined path is compared as far as the recording goes, a plan at those of its times that it covers.
    """
    found: dict[str, float] = {}
    if driven is None:
        return found
    if imagined is not None:
        known = imagined.times_s <= driven.times_s[-1] + 1e-6
        if known.sum() > 1:
            shorter = Trajectory(poses=imagined.poses[known], times_s=imagined.times_s[known])
            found |= _named(ade_fde(shorter, driven), "")
    for name, plan in plans.items():
        found |= _named(plan_errors(plan, driven) or {}, f":{name}")
    return found


def _named(errors: Mapping[str, float], suffix: str) -> dict[str, float]:
    return {f"{name.removesuffix('_m')}{suffix}": value for name, value in errors.items()}


def missing_scores(
    metrics: Sequence[str], values: Mapping[str, float], *, edited: bool, covered_s: float, seconds: float
) -> list[str]:
    """Why numbers that were asked for are not there, or say less than they seem to.

    Args:
        metrics: What was asked for.
        values: What was measured.
        edited: Whether something was put into the clip.
        covered_s: How long the recording goes on after now.
        seconds: Horizon.
    """
    if not metrics:
        return []
    if edited:
        return [
            "the recording does not show what was put into the clip, so the imagined future was not compared with what "
            "followed; only plans without the edit were."
        ]
    said = []
    if covered_s + 1e-6 < seconds:
        said.append(f"the recording goes on for {covered_s:g} s; what was imagined beyond that was not scored.")
    lacking = [metric for metric in metrics if not any(name.partition(":")[0] == metric for name in values)]
    if lacking and covered_s > 0:
        said.append(f"not measured: {', '.join(lacking)} (no ego motion, or pictures too small).")
    return said
