"""A small dataset, a stand-in for the world model, and the real one at its tiniest."""

import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from worldmodel.clips import Box, Clip, Instruction
from worldmodel.geometry import Motion, Trajectory
from worldmodel.guidance import FixedGuide, GuideContext
from worldmodel.io.lerobot import Dataset, write_dataset
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan
from worldmodel.rollout import Rollout
from worldmodel.town.scene import town_rig


def a_clip(name: str, *, seconds: float = 7.0, motion: bool = True, boxes: bool = True, seed: int = 0) -> Clip:
    """Three cameras at 8 Hz, 8 m/s straight on, sky above and road below, some noise."""
    rig, frames = town_rig(3, 64, 32), round(seconds * 8)
    video = np.full((frames, 3, 3, 32, 64), 90, np.uint8)
    video[..., :13, :] = 190
    video += np.random.default_rng(seed).integers(0, 20, video.shape, dtype=np.uint8)
    far = Box(track="7", kind="car", center=np.array([45.0, 3.0, 0.7]), size=np.array([4.0, 1.8, 1.4]), yaw_rad=0.0)
    return Clip(
        id=name,
        video=video,
        rig=rig,
        motion=Motion(deltas=np.array([[1.0, 0.0, 0.005]] * (frames - 1)), period_s=0.125) if motion else None,
        motion_origin="poses" if motion else "none",
        frequency_hz=8.0,
        instructions=(Instruction(text="turn left at the crossing"),),
        boxes=((far,),) * frames if boxes else None,
        source="made by a test",
    )


@pytest.fixture(scope="session")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three clips with motion and boxes; the last one ends early."""
    out = tmp_path_factory.mktemp("data") / "drives"
    clips = [a_clip("one"), a_clip("two", seed=1), a_clip("short", seconds=2.0)]
    return write_dataset(clips, out, name="drives")


@pytest.fixture(scope="session")
def silent_drives(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One clip without motion and boxes."""
    out = tmp_path_factory.mktemp("data") / "silent"
    return write_dataset([a_clip("silent", motion=False, boxes=False)], out, name="silent")


class FakeTokenizer:
    """Latents are pictures."""

    hash = "0123456789abcdef"

    def encode_video(self, video: np.ndarray) -> np.ndarray:
        return video

    def decode_video(self, latents: np.ndarray) -> np.ndarray:
        return latents // 8 * 8


@dataclass
class FakeWorld:
    """Repeats the last frame with noise from the seed, and slows down when something red is ahead."""

    hash: str = "fedcba9876543210"
    tokenizer: FakeTokenizer = field(default_factory=FakeTokenizer)
    config: Any = field(
        default_factory=lambda: SimpleNamespace(
            preset="fake",
            network=SimpleNamespace(frames_per_chunk=4),
            history_chunks=4,
            frequency_hz=8.0,
            width_px=64,
            height_px=32,
            stages=("none",),
        )
    )

    def imagine(self, observation: Observation, **asked: Any) -> Rollout:
        frames = round(asked["seconds"] * 8)
        noise = np.random.default_rng(asked["seed"]).integers(0, 9, (frames, *observation.video.shape[1:]))
        video = (observation.video[-1] // 2 + noise).astype(np.uint8)
        times = np.arange(frames + 1) / 8
        poses = np.stack([8.0 * times, 0 * times, 0 * times], axis=-1)
        actions: Trajectory | None = asked.get("actions")
        trajectory = Trajectory(poses=poses, times_s=times) if actions is None else actions.resampled(times)
        guide = asked.get("guide") or FixedGuide(text=observation.instruction)
        context = GuideContext(
            chunk=0, time_s=0.0, observation=observation, trajectory=trajectory, texts=(), plan=self._drawn(observation)
        )
        if on_chunk := asked.get("on_chunk"):
            on_chunk(0, 1, video)
        return Rollout(
            video=video,
            trajectory=trajectory,
            rig=observation.rig,
            frequency_hz=8.0,
            texts=(guide.hint(context),),
            seed=asked["seed"],
            actions_given=actions is not None,
            timing={"generate_s": 0.01},
            provenance={"imagined": True, "model": self.hash},
        )

    def _drawn(self, observation: Observation) -> Callable[[int], Plan]:
        return lambda samples: self.plan(observation, seed=0, samples=samples)

    def plan(self, observation: Observation, *, seed: int, samples: int = 1) -> Plan:
        red = observation.video[-1, 1, 0].astype(int) - observation.video[-1, 1, 1]
        speed = 2.0 if (red > 60).any() else 8.0
        noise = np.random.default_rng(seed).normal(0, 0.01, (samples, 8, 3))
        drawn = np.stack([speed * PLAN_TIMES_S, 0 * PLAN_TIMES_S, 0 * PLAN_TIMES_S], axis=-1) + noise
        return Plan(trajectory=Trajectory(poses=drawn.mean(axis=0), times_s=PLAN_TIMES_S), samples=drawn)


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model at its tiniest, untrained."""
    import torch

    from worldmodel.model import WorldModel
    from worldmodel.network import WorldActionTransformer
    from worldmodel.tokenizer import Tokenizer
    from worldmodel.training.presets import find_preset

    config = replace(find_preset("test").model, step_std=(0.2, 0.05, 0.01), step_mean=(1.0, 0.0, 0.0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WorldModel(config, Tokenizer(config.tokenizer), WorldActionTransformer(config.network))
    folder = tmp_path_factory.mktemp("model") / "tiny"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True, scope="module")
def sockets_that_servers_leave_are_collected() -> Iterator[None]:
    """A closed web server leaves sockets to the garbage collector, whose warnings would strike a later, innocent test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
