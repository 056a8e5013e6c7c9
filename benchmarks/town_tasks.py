"""What `town-r2p1d` is asked in training: clips of one camera drawn from a store of town scenes, with what is true of them.

Motion, decisions, weather, situation, road users and where they are come from the scenes; more than half of the clips are
damaged on purpose (`eval_fid_fvd.corruptions`), and the root of the severity is asked, so that a little damage is not lost
beside a lot. Every draw is a pure function of the generator.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.corruptions import CORRUPTIONS, SPEED, WORST, corrupted
from eval_fid_fvd.crops import FARTHEST_M, VEHICLES, sight_of
from eval_fid_fvd.held_out import StoredScenes
from eval_fid_fvd.networks.town import WIDTH, fitted
from worldmodel.clips import Box
from worldmodel.decisions import LATERAL, LONGITUDINAL, decide
from worldmodel.geometry import Array, Camera, Motion
from worldmodel.town.scene import THINGS, WEATHERS
from worldmodel.town.setting.layout import draw_light
from worldmodel.town.situations import generator

KINDS = ("vehicles", "on foot or bicycle", "things in the way")
COUNT_STEP = 4  # frames between those whose road users are counted
SMALLEST_PX, COVERED, HIDDEN = 2.0, 0.3, 0.6  # what counts as visible: size, share of road users' pixels, share hidden
GRID = (4, 8)
DAMAGED, STILL = 0.6, 0.12  # share of the clips that are damaged, and that stand still as pictures do
MOTION = ("frozen", "shuffled")  # damages after which the true motion is no longer shown


def kind_of(box: Box) -> int:
    """Place in KINDS."""
    return 0 if box.kind in VEHICLES else 2 if box.kind in THINGS else 1


def visible_counts(boxes: Sequence[Box], camera: Camera, road_users: Array) -> list[int]:
    """How many of each of KINDS a camera shows within 40 m.

    Args:
        road_users: Where the picture shows any of them, bool [h, w].
    """
    near = [box for box in boxes if np.hypot(*box.center[:2]) < FARTHEST_M]
    seen = [(box, sight) for box in near if (sight := sight_of(box, camera)) is not None]
    counts = [0] * len(KINDS)
    for box, one in seen:
        place = road_users[int(one.top) : int(np.ceil(one.bottom)), int(one.left) : int(np.ceil(one.right))]
        large = min(one.right - one.left, one.bottom - one.top) >= SMALLEST_PX
        if large and place.mean() >= COVERED and sum(one.hidden_by(other) for _, other in seen) < HIDDEN:
            counts[kind_of(box)] += 1
    return counts


def counted(data: StoredScenes, file: Path) -> Array:
    """Road users that are seen, uint8 [scenes, every fourth frame, camera, kind]; simulated once, then read from `file`."""
    if not file.exists():
        store, frames = data.store, range(0, data.store.video.shape[1], COUNT_STEP)
        found = np.zeros((len(data), len(frames), len(store.rig), len(KINDS)), np.uint8)
        for i in range(len(data)):
            scene = data.scene(i)
            for f, frame in enumerate(frames):
                boxes = scene.boxes(frame)
                for c, camera in enumerate(store.rig.cameras):
                    found[i, f, c] = visible_counts(boxes, camera, store.objects[i, frame, c])
            if i % 100 == 99:
                print(f"counted road users of {i + 1} of {len(data)} scenes", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.npy")
        np.save(temporary, found)
        os.replace(temporary, file)
    counts: Array = np.load(file)
    return counts


@dataclass(frozen=True, eq=False, kw_only=True)
class TownScenes:
    """A store with all that its clips are asked about.

    Attributes:
        counts: [scenes, every fourth frame, camera, kind].
        weathers, situations: One number per scene.
        names: Of the situations.
    """

    data: StoredScenes
    counts: Array
    weathers: Array
    situations: Array
    names: tuple[str, ...]

    @staticmethod
    def open(folder: Path, work: Path) -> "TownScenes":
        """Read a store; what is counted in it is kept in the working folder.

        Raises:
            BadDataset: if it is no store of town scenes.
        """
        data = StoredScenes.open(folder)
        names = tuple(sorted({name for name, _ in data.scenes}))
        return TownScenes(
            data=data,
            counts=counted(data, work / "counts.npy"),
            weathers=np.array([WEATHERS.index(draw_light(generator(*one, "light")).weather) for one in data.scenes]),
            situations=np.array([names.index(name) for name, _ in data.scenes]),
            names=names,
        )

    def driven(self, scene: int, first: int, frames: int) -> tuple[float, float, int, int]:
        """Mean speed, mean yaw rate and both decisions (places in LATERAL, LONGITUDINAL) from a frame on, over a clip."""
        hertz = self.data.store.frequency_hz
        motion = Motion(deltas=np.asarray(self.data.store.deltas[scene, first : first + frames]), period_s=1 / hertz)
        decision = decide(motion.trajectory(), frames / hertz)
        shown = motion[: frames - 1]
        return (
            float(shown.speeds_mps.mean()),
            float(shown.yaw_rates_radps.mean()),
            LATERAL.index(decision.lateral),
            LONGITUDINAL.index(decision.longitudinal),
        )


@dataclass(eq=False, kw_only=True)
class Draws:
    """Random clips of some scenes, with labels; what is drawn depends on the seed and the calls so far alone.

    Attributes:
        damage: Share of clips that are damaged.
    """

    scenes: TownScenes
    rows: range
    seed: int
    damage: float = DAMAGED
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def batch(self, count: int, frames: int) -> dict[str, Tensor]:
        """Clips [n, 3, frames, h, w] in [-1, 1] and their labels."""
        found = [self._one(frames) for _ in range(count)]
        clips = fitted(np.concatenate([clip for clip, _ in found])).unflatten(0, (count, frames)).transpose(1, 2)
        labels = {name: torch.from_numpy(np.stack([one[name] for _, one in found])) for name in found[0][1]}
        return {"clips": clips.contiguous(memory_format=torch.channels_last_3d), **labels}

    def _one(self, frames: int) -> tuple[Array, dict[str, Array]]:
        store, random = self.scenes.data.store, self.random
        scene, camera = int(random.choice(self.rows)), int(random.integers(len(store.rig)))
        still = self.damage > 0 and random.random() < STILL
        kind, amount = self._damage(frames, still)
        rate = amount if kind == SPEED else 1.0
        length = int((frames - 1) * rate + 0.5) + 1
        first = int(random.integers(store.video.shape[1] - length + 1))
        video = np.asarray(store.video[scene, first : first + length, camera])
        if still:
            video = np.repeat(video[:1], frames, axis=0)
        if kind:
            video = corrupted(video, kind, amount, frames=frames, generator=random)
        severity = np.zeros(len(CORRUPTIONS), np.float32)
        severity[list(CORRUPTIONS).index("frozen")] = still
        if kind:
            severity[list(CORRUPTIONS).index(kind)] = (
                np.log2(amount) if kind == SPEED else (amount / WORST[kind]) ** 0.5
            )
        return video, {
            **self._facts(scene, camera, first, frames, rate, "frozen" if still else kind),
            "severity": severity,
        }

    def _damage(self, frames: int, still: bool) -> tuple[str, float]:
        kinds = list(CORRUPTIONS) if not still else [k for k in CORRUPTIONS if k not in (*MOTION, SPEED)]
        if self.random.random() >= self.damage:
            return "", 0.0
        kind = str(self.random.choice(kinds))
        if kind == SPEED:
            fastest = min(WORST[SPEED], (self.scenes.data.store.video.shape[1] - 1.5) / (frames - 1))
            return kind, float(2 ** self.random.uniform(-np.log2(WORST[SPEED]), np.log2(fastest)))
        return kind, float(WORST[kind] * self.random.uniform(0.03, 1) ** 1.5)

    def _facts(self, scene: int, camera: int, first: int, frames: int, rate: float, kind: str) -> dict[str, Array]:
        store = self.scenes.data.store
        middle = first + int((frames - 1) * rate / 2)
        users = store.objects[scene, middle, camera].astype(np.float32)
        tiles = users.reshape(GRID[0], users.shape[0] // GRID[0], GRID[1], users.shape[1] // GRID[1]).mean((1, 3))
        speed, turn, lateral, longitudinal = self.scenes.driven(scene, first, frames)
        return {
            "motion": np.array([speed * rate / 5, turn * rate / 0.1], np.float32),
            "decisions": np.array([lateral, longitudinal]),
            "weather": self.scenes.weathers[scene],
            "situation": self.scenes.situations[scene],
            "counts": np.sqrt(
                self.scenes.counts[scene, min(middle // COUNT_STEP, self.scenes.counts.shape[1] - 1), camera]
            ).astype(np.float32),
            "grid": tiles,
            "moves": np.float32(kind not in MOTION),
            "decides": np.float32(not kind),
        }


class Tasks(nn.Module):
    """Linear answers from the features (and, for the grid, from the last map); thrown away after training."""

    def __init__(self, situations: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        sizes = {
            "motion": 2,
            "lateral": len(LATERAL),
            "longitudinal": len(LONGITUDINAL),
            "weather": len(WEATHERS),
            "situation": situations,
            "counts": len(KINDS),
            "severity": len(CORRUPTIONS),
        }
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, size) for name, size in sizes.items()})
        self.grid = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, maps: Tensor) -> dict[str, Tensor]:
        """Answers by task, from maps [n, c, t, h, w]."""
        maps = maps.float()
        pooled = self.norm(maps.mean(dim=(2, 3, 4)))
        return {name: head(pooled) for name, head in self.heads.items()} | {"grid": self.grid(maps.mean(2))[:, 0]}


WEIGHTS = {
    "motion": 5.0,
    "lateral": 1.0,
    "longitudinal": 1.0,
    "weather": 0.5,
    "situation": 0.25,
    "counts": 1.0,
    "grid": 1.5,
    "severity": 15.0,
}


def losses(said: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """One loss for each task."""
    moves, decides = batch["moves"], batch["decides"]

    def over(values: Tensor, rows: Tensor) -> Tensor:
        return (values * rows).sum() / rows.sum().clamp(min=1)

    motion = functional.smooth_l1_loss(said["motion"], batch["motion"], beta=0.2, reduction="none").mean(1)
    lateral, longitudinal = (
        functional.cross_entropy(said[name], batch["decisions"][:, i], reduction="none")
        for i, name in enumerate(("lateral", "longitudinal"))
    )
    grid = functional.binary_cross_entropy_with_logits(said["grid"], batch["grid"], pos_weight=torch.tensor(4.0))
    return {
        "motion": over(motion, moves),
        "lateral": over(lateral, decides),
        "longitudinal": over(longitudinal, decides),
        "weather": functional.cross_entropy(said["weather"], batch["weather"]),
        "situation": functional.cross_entropy(said["situation"], batch["situation"]),
        "counts": functional.smooth_l1_loss(said["counts"], batch["counts"], beta=0.3),
        "grid": grid,
        "severity": functional.mse_loss(said["severity"], batch["severity"]),
    }
