"""Which lamps shine at a moment: brake lights, indicators and traffic lights, as codes that add up."""

import zlib

import numpy as np
from jaxtyping import Int

from worldmodel.geometry import Array
from worldmodel.town.looks.shading import Tone
from worldmodel.town.looks.shapes import COLUMN, Material, Parts
from worldmodel.town.scene import HAZARD, LEFT, RIGHT, Scene

BRAKE, LEFT_LAMP, RIGHT_LAMP = 1, 2, 4
SIGNAL_LAMPS = (8, 16, 32)  # of RED, AMBER and GREEN
AMBER_LIT: Tone = (1.0, 0.62, 0.05)
SIGNAL_LIT: tuple[Tone, ...] = ((1.0, 0.10, 0.06), (1.0, 0.70, 0.05), (0.10, 0.95, 0.45))  # RED, AMBER, GREEN
BLINKS_HZ = 1.5
LIT_SHARE = 0.55  # of a blink


def body_lamps(scene: Scene, frames: list[int]) -> Int[Array, "time body"]:
    """Codes of the lamps that shine on each body in each frame; indicators blink, each body in its own rhythm."""
    times = np.array(frames, np.float64)[:, None] / scene.frequency_hz
    start = np.array([zlib.crc32(body.track.encode()) % 997 / 997 for body in scene.bodies])
    lit = (times * BLINKS_HZ + start) % 1.0 < LIT_SHARE
    state = scene.body_indicators[frames]
    left = lit & ((state == LEFT) | (state == HAZARD))
    right = lit & ((state == RIGHT) | (state == HAZARD))
    codes = BRAKE * scene.body_braking[frames] + LEFT_LAMP * left + RIGHT_LAMP * right
    return codes.astype(np.int64)


def signal_lamps(scene: Scene, parts: Parts, frames: list[int]) -> Int[Array, "time part"]:
    """Codes of the lamps that shine on each part of the stage; zero for all but traffic lights."""
    codes = np.zeros((len(frames), len(parts)), np.int64)
    mine = np.flatnonzero(parts.numbers[:, COLUMN["material"]] == Material.SIGNAL)
    states = scene.signal_states[frames].astype(np.int64)
    codes[:, mine] = np.array(SIGNAL_LAMPS)[states[:, parts.numbers[mine, COLUMN["seed"]].astype(int)]]
    return codes
