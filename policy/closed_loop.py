"""The town as a gymnasium environment: look, drive, be judged.

Importing this module registers `Detour/Town-v0`; `gymnasium.make("Detour/Town-v0", setup=TownSetup(...))` builds it.
"""

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from policy.bicycle import Limits, controls_of
from policy.driving import finished
from policy.town_drive import Course, TownDrive
from worldmodel.clips import MAX_INSTRUCTION_CHARACTERS
from worldmodel.errors import BadMotion, BadRequest, UnknownName
from worldmodel.geometry import Array, Rig, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import SITUATIONS

ACTIONS = ("trajectory", "controls")
SEEDS = 1_000_000  # reset draws scenes from the town's training seeds
PRINTABLE = "".join(chr(code) for code in range(32, 127))
FARTHEST_M = 160.0  # 4 s at 40 m/s


@dataclass(frozen=True, kw_only=True)
class TownSetup:
    """How the environment is set up.

    Attributes:
        situations: Drawn from at every reset; empty for all.
        rig: The cameras.
        action: 'trajectory' or 'controls'.
        seconds: Time given per episode, after the expert's `warmup_s`.
        warmup_s: The expert drives first.
        decision_hz: Steps per second; must divide `frequency_hz`.
        frequency_hz: Frames per second.
        history: Frames per observation; the newest last.
        limits: Of the car.
    """

    situations: tuple[str, ...] = ()
    rig: Rig = field(default_factory=partial(town_rig, 3))
    action: str = "trajectory"
    seconds: float = 20.0
    warmup_s: float = 2.0
    decision_hz: float = 2.0
    frequency_hz: float = 8.0
    history: int = 1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in self.situations:
            if name not in SITUATIONS:
                raise UnknownName("situation", name, SITUATIONS)
        if self.action not in ACTIONS:
            raise UnknownName("kind of action", self.action, ACTIONS)
        known = self.warmup_s * self.frequency_hz + 1
        if not 1 <= self.history <= known:
            raise BadRequest(
                f"{self.history} frames per observation are asked for; with {self.warmup_s:g} s of warm-up there are 1 to "
                f"{known:g}. Choose fewer, or a longer warm-up."
            )
        if not (0 < self.decision_hz <= self.frequency_hz and (self.frequency_hz / self.decision_hz).is_integer()):
            raise BadRequest(
                f"{self.decision_hz:g} decisions at {self.frequency_hz:g} frames per second: the first must divide the second. "
                "Choose, say, 2 and 8."
            )
        self.course(self.names[0], 0)

    @property
    def names(self) -> tuple[str, ...]:
        """The situations to draw from."""
        return self.situations or tuple(SITUATIONS)

    def course(self, situation: str, seed: int) -> Course:
        """One episode."""
        return Course(
            situation=situation,
            seed=seed,
            seconds=self.seconds,
            warmup_s=self.warmup_s,
            frequency_hz=self.frequency_hz,
            limits=self.limits,
        )


class TownEnv(gymnasium.Env):
    """Drive in the town.

    **Observation**, a dict: `frames` uint8 [history, camera, 3, height, width], the newest last; `speed` (m/s) and `yaw_rate`
    (rad/s, positive to the left), float32 [1]; `instruction`, a text.

    **Action** 'trajectory': float32 [8, 3], poses (x m forward, y m left, yaw rad) at 0.5, 1.0, ... 4.0 s in the ego frame of now,
    followed by a kinematic bicycle until the next decision. 'controls': float32 [2], acceleration and curvature as shares of the
    car's limits, -1 to 1 as learners like it: -1 is its strongest brake and 1 its strongest throttle, -1 full lock to the right
    and 1 to the left; held until the next decision.

    **Reward**: what the step changed of the episode's driving score, as a share: progress along the route raises it, every
    infraction cuts it by its factor. The undiscounted sum over an episode is the episode's driving score / 100.

    **End**: terminated by a collision at fault, 5 m off the road, 30 m off the route, or at the route's end; truncated when the time
    is over.

    **Info**: `situation`, `scene_seed`, `route_m` at reset; `route_completion`, `driving_score`, `infractions` (time, kind, track,
    detail) at every step; at the end also `end` and `navsim`, the sub-scores with `pdms` and `epdms`.

    **Side by side**: `gymnasium.make_vec` works; in processes pass `vector_kwargs={"shared_memory": False, "context": "spawn"}`: gymnasium's
    shared memory does not carry texts, and a process forked after torch has used its threads hangs when it renders.

    `reset(seed=s)` draws situation and scene from `s`; `options` may name them: {'situation': 'street', 'seed': 7}.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012 - gymnasium's own way to say it

    def __init__(self, setup: TownSetup | None = None, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise UnknownName("render mode", str(render_mode), ("rgb_array",))
        self.setup, self.render_mode = setup or TownSetup(), render_mode
        rig = self.setup.rig
        shape = (self.setup.history, len(rig), 3, rig.height_px, rig.width_px)
        self.observation_space = spaces.Dict(
            {
                "frames": spaces.Box(0, 255, shape, np.uint8),
                "speed": spaces.Box(0.0, self.setup.limits.speed_mps, (1,), np.float32),
                "yaw_rate": spaces.Box(-2 * np.pi, 2 * np.pi, (1,), np.float32),
                "instruction": spaces.Text(MAX_INSTRUCTION_CHARACTERS, min_length=0, charset=PRINTABLE),
            }
        )
        self.action_space = _action_space(self.setup)
        self._town: TownDrive | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new episode at the hand-over.

        Raises:
            UnknownName: for an option or situation that does not exist.
            BadRequest: for a scene seed out of range.
        """
        super().reset(seed=seed)
        asked = dict(options or {})
        situation = str(asked.pop("situation", self.setup.names[int(self.np_random.integers(len(self.setup.names)))]))
        number = asked.pop("seed", int(self.np_random.integers(SEEDS)))
        if asked:
            raise UnknownName("option of reset", next(iter(asked)), ("situation", "seed"))
        self._town = TownDrive(self.setup.course(situation, number))
        info = {"situation": situation, "scene_seed": number, "route_m": self._town.route_m}
        return self._observe(self._town), info | self._standing(self._town)

    def step(self, action: Array) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Drive to the next decision.

        Raises:
            BadRequest: before `reset` or after the end.
            BadMotion: if the action is not finite or has another shape.
        """
        if self._town is None:
            raise BadRequest("step was called before reset; an episode must begin first. Call reset.")
        town = self._town
        before = town.score.value
        town.advance(self._controls(town, np.asarray(action, np.float64)), 1 / self.setup.decision_hz)
        reward = (town.score.value - before) / 100
        info = self._standing(town)
        if town.end:
            record = finished(town, "env")
            navsim = asdict(record.navsim) | {"pdms": record.navsim.pdms, "epdms": record.epdms}
            info |= {"end": town.end, "navsim": {name: value for name, value in navsim.items() if value is not None}}
        over, late = town.end not in ("", "time"), town.end == "time"
        return self._observe(town), reward, over, late, info

    def render(self) -> Array | None:
        """The newest frame of all cameras, side by side: uint8 [height, width, 3]; None unless the mode is 'rgb_array'."""
        if self.render_mode is None or self._town is None:
            return None
        frame = self._town.observation(self.setup.rig, self.setup.history).video[-1]
        return np.concatenate(list(frame.transpose(0, 2, 3, 1)), axis=1)

    def _controls(self, town: TownDrive, action: Array) -> tuple[float, float]:
        shape = self.action_space.shape
        if action.shape != shape or not np.isfinite(action).all():
            raise BadMotion(
                f"the action has shape {action.shape} or values that are not finite; {self.setup.action} needs finite {shape}. "
                "Check the planner's output."
            )
        if self.setup.action == "trajectory":
            plan = Plan(trajectory=Trajectory(poses=action, times_s=PLAN_TIMES_S))
            acceleration, curvature = controls_of(plan, town.car.speed_mps, self.setup.limits)[0]
            return float(acceleration), float(curvature)
        limits = self.setup.limits
        pedal = limits.throttle_mps2 if action[0] > 0 else limits.brake_mps2
        return float(action[0]) * pedal, float(action[1]) * limits.curvature_per_m

    def _observe(self, town: TownDrive) -> dict[str, Any]:
        seen = town.observation(self.setup.rig, self.setup.history)
        return {
            "frames": seen.video,
            "speed": np.array([town.car.speed_mps], np.float32),
            "yaw_rate": np.array([town.car.speed_mps * town.car.curvature_per_m], np.float32),
            "instruction": _plain(seen),
        }

    def _standing(self, town: TownDrive) -> dict[str, Any]:
        score = town.score
        return {
            "route_completion": score.completion,
            "driving_score": score.value,
            "infractions": [asdict(one) for one in town.conduct.infractions],
        }


def _plain(seen: Observation) -> str:
    """The instruction in printable ASCII."""
    return "".join(letter if letter in PRINTABLE else "?" for letter in seen.instruction)


def _action_space(setup: TownSetup) -> spaces.Box:
    if setup.action == "trajectory":
        most = np.tile(np.array([FARTHEST_M, FARTHEST_M, np.pi], np.float32), (len(PLAN_TIMES_S), 1))
        return spaces.Box(-most, most, dtype=np.float32)
    return spaces.Box(-1.0, 1.0, (2,), np.float32)


gymnasium.register(id="Detour/Town-v0", entry_point="policy.closed_loop:TownEnv")
