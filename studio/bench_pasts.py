"""Pasts of any age, observations of noise and the memory of this process, for `detour bench model`."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from worldmodel.geometry import Motion
from worldmodel.memory.selective import Selective
from worldmodel.plans import Observation
from worldmodel.sequence import FramesPart, TokenSequence

if TYPE_CHECKING:
    from worldmodel.memory.entries import ChunkEntry
    from worldmodel.model import WorldModel
    from worldmodel.past import Past

MIB = 2**20


def aged(past: "Past", chunks: int, frames: int) -> "Past":
    """A past of one imagined chunk made `chunks` long with copies of that chunk, of `frames` frames each."""
    memory = past.memory
    entry = memory.newest[-1] if isinstance(memory, Selective) else memory.entries[-1]
    for later in range(1, chunks):
        memory = memory.append(_shifted(entry, later, frames))
    poses = past.trajectory[0]
    poses = np.concatenate([poses, np.repeat(poses[-1:], (chunks - 1) * frames, axis=0)])
    newest = past.frames + (chunks - 1) * frames
    return replace(past, memory=memory, frames=newest, chunks=chunks, trajectory=(poses,))


def _shifted(entry: "ChunkEntry", chunks: int, frames: int) -> "ChunkEntry":
    """The same chunk, so many chunks later."""
    later = torch.tensor([chunks * frames, 0, 0], device=entry.cells.position.device)
    cells = replace(entry.cells, chunk=entry.cells.chunk + chunks, position=entry.cells.position + later)
    return replace(entry, cells=cells)


@torch.no_grad()
def read_anew(model: "WorldModel", past: "Past", chunks: int) -> None:
    """One pass over so many chunks, as a network without a cache reads them; `past` tells the cameras."""
    network, frames = model.config.network, chunks * model.per_chunk
    shape = (1, frames, past.rays.shape[1], network.latent_channels, network.latent_height, network.latent_width)
    known = torch.zeros(1, frames, device=model.device)
    part = FramesPart(
        frames=torch.arange(frames, device=model.device),
        clean=True,
        steps=torch.zeros(1, frames, 3, device=model.device),
        steps_time=known,
        video=torch.zeros(shape, device=model.device),
        video_time=known,
    )
    model.network(TokenSequence(frames=(part,), rays=past.rays, period_s=model.period(1)), remember=True)


def random_observation(model: "WorldModel") -> Observation:
    """As much history as the model was trained with, of noise, on the town's cameras, straight ahead at 8 m/s."""
    from worldmodel.town.scene import town_rig

    config = model.config
    frames = config.history_chunks * model.per_chunk
    shape = (frames, config.cameras, 3, config.height_px, config.width_px)
    deltas = np.tile((8.0 / config.frequency_hz, 0.0, 0.0), (frames - 1, 1))
    return Observation(
        video=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        rig=town_rig(config.cameras, config.width_px, config.height_px),
        motion=Motion(deltas=deltas, period_s=1 / config.frequency_hz),
        frequency_hz=config.frequency_hz,
        instruction="turn left at the junction",
    )


def resident_mib() -> float:
    """Resident memory of this process now, in MiB; the largest so far where the system does not tell."""
    import resource

    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / MIB
    except OSError:
        return peak_mib()


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MIB if sys.platform == "darwin" else most / 1024
