"""Training data on disk as plain arrays that can be mapped: frames, steps, plans, texts, and (later) latents.

A store is a folder: `video.npy` uint8 [clips, time, camera, 3, h, w]; `objects.npy` bool [clips, time, camera, h, w]
(where road users are; for the tokenizer's loss), `deltas.npy` float64 [clips, long - 1, 3] with `known.npy` bool
(steps past the video's end serve as plan labels), `store.json` (texts, whose driving is worth planning, rig, rate, what
it was made from), `words.json` (what is said from chunk to chunk; older stores have one text per clip only) and
`latents.npy` float16 once a tokenizer has read it. It is written under a temporary name, then renamed.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from worldmodel.clips import Clip
from worldmodel.errors import BadDataset, ClipTooShort
from worldmodel.geometry import Array, Camera, Rig
from worldmodel.pictures import resize_video
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.words import Words, read_words, spoken_of, write_words

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """One clip for the store: arrays as in the module's docstring, without the first axis.

    Attributes:
        text: What the driver is told first.
        expert: Whether its driving is worth planning; else its steps teach what comes next, and no plan.
        words: What is said from chunk to chunk; None for the text alone.
    """

    video: Array
    objects: Array
    deltas: Array
    known: Array
    text: str
    expert: bool = True
    words: Words | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Store:
    """An opened store; arrays are memory maps. `words` is None in a store that has one text per clip only."""

    folder: Path
    video: Array
    objects: Array
    deltas: Array
    known: Array
    texts: tuple[str, ...]
    expert: tuple[bool, ...]
    rig: Rig
    frequency_hz: float
    made_from: dict[str, Any]
    words: tuple[Words, ...] | None = None

    def __len__(self) -> int:
        return len(self.video)

    @staticmethod
    def open(folder: Path) -> "Store":
        """Open a finished store.

        Raises:
            BadDataset: if it is not there or not whole.
        """
        try:
            meta = json.loads((folder / "store.json").read_text())
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("video", "objects", "deltas", "known")
            }
        except (OSError, ValueError, json.JSONDecodeError) as error:
            raise BadDataset(f"'{folder}' is not a training store ({error}). Delete it; it is made again.") from error
        return Store(
            folder=folder,
            texts=tuple(meta["texts"]),
            expert=tuple(meta.get("expert", [True] * len(meta["texts"]))),  # older stores hold good driving only
            rig=rig_from_json(meta["rig"]),
            frequency_hz=meta["frequency_hz"],
            made_from=meta["made_from"],
            words=read_words(folder, len(meta["texts"])),
            **arrays,
        )

    def latents(self, tokenizer: Tokenizer, progress: Progress | None = None) -> Array:
        """Latents [clips, time, camera, channel, h, w] float16 of this tokenizer; computed once, then read from disk."""
        path = self.folder / f"latents-{tokenizer.hash}.npy"
        if not path.exists():
            sizes = tokenizer.encode_video(self.video[0, :1]).shape[1:]
            temporary = path.with_suffix(".tmp")
            out = open_memmap(str(temporary), mode="w+", dtype=np.float16, shape=(*self.video.shape[:2], *sizes))
            for i in range(len(self)):
                out[i] = tokenizer.encode_video(np.asarray(self.video[i])).cpu().numpy()
                if progress is not None:
                    progress(i + 1, len(self))
            out.flush()
            os.replace(temporary, path)
        latents: Array = np.load(path, mmap_mode="r")
        return latents


def rig_to_json(rig: Rig) -> list[dict[str, Any]]:
    """A rig as plain JSON values."""
    return [
        {
            "name": c.name,
            "intrinsics": c.intrinsics.tolist(),
            "ego_from_camera": c.ego_from_camera.tolist(),
            "width_px": c.width_px,
            "height_px": c.height_px,
        }
        for c in rig.cameras
    ]


def rig_from_json(data: list[dict[str, Any]]) -> Rig:
    """The rig that `rig_to_json` wrote."""
    return Rig(
        cameras=tuple(
            Camera(
                name=c["name"],
                intrinsics=np.array(c["intrinsics"]),
                ego_from_camera=np.array(c["ego_from_camera"]),
                width_px=c["width_px"],
                height_px=c["height_px"],
            )
            for c in data
        )
    )


def write_store(
    samples: Iterator[Sample],
    count: int,
    folder: Path,
    rig: Rig,
    frequency_hz: float,
    made_from: dict[str, Any],
    progress: Progress | None = None,
) -> Store:
    """Write `count` samples of one shape as a store; an interrupted store leaves nothing behind."""
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    maps: dict[str, Array] = {}
    texts, expert, words = [], [], []
    try:
        for i, sample in enumerate(samples):
            for name in ("video", "objects", "deltas", "known"):
                value = getattr(sample, name)
                if name not in maps:
                    shape = (count, *value.shape)
                    maps[name] = open_memmap(str(temporary / f"{name}.npy"), mode="w+", dtype=value.dtype, shape=shape)
                maps[name][i] = value
            texts.append(sample.text)
            expert.append(sample.expert)
            words += [] if sample.words is None else [sample.words]
            if progress is not None:
                progress(i + 1, count)
        meta = {"texts": texts, "expert": expert, "rig": rig_to_json(rig), "frequency_hz": frequency_hz}
        meta["made_from"] = made_from
        (temporary / "store.json").write_text(json.dumps(meta))
        if words and len(words) == len(texts):
            write_words(temporary, words)
        for values in maps.values():
            values.flush()  # type: ignore[attr-defined]
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Store.open(folder)


def clip_samples(clip: Clip, rig: Rig, frames: int, stride: int) -> Iterator[Sample]:
    """Windows of `frames` frames, every `stride` frames, from a recorded clip; plans look past the window's end."""
    ahead = round(PLAN_TIMES_S[-1] * clip.frequency_hz)
    for first in range(0, len(clip) - frames + 1, stride):
        video = resize_video(clip.video[first : first + frames], rig.width_px, rig.height_px)
        deltas, known = np.zeros((frames - 1 + ahead, 3)), np.zeros(frames - 1 + ahead, dtype=bool)
        if clip.motion is not None:
            logged = clip.motion.deltas[first : first + len(deltas)]
            deltas[: len(logged)], known[: len(logged)] = logged, True
        shape = (frames, len(rig), rig.height_px, rig.width_px)
        yield Sample(
            video=video,
            objects=np.zeros(shape, dtype=bool),
            deltas=deltas,
            known=known,
            text=clip.instruction_at(first / clip.frequency_hz),
            words=Words(instruction=spoken_of(clip.instructions, first / clip.frequency_hz)),
        )


def dataset_store(
    folder: Path,
    dataset: Any,
    width_px: int,
    height_px: int,
    *,
    frames: int,
    stride: int,
    episodes: Sequence[int],
    progress: Progress | None = None,
) -> Store:
    """Cut the episodes of a `worldmodel.io.lerobot.Dataset` into windows.

    Raises:
        ClipTooShort: if no episode is long enough.
    """
    rig = dataset.rig.scaled(width_px, height_px)
    counts = {e: max(0, (dataset.length(e) - frames) // stride + 1) for e in episodes}
    total = sum(counts.values())
    if not total:
        raise ClipTooShort(f"no episode of '{dataset.path}' has {frames} frames. Import longer clips.")
    samples = (sample for e in episodes if counts[e] for sample in clip_samples(dataset.clip(e), rig, frames, stride))
    made_from = {"dataset": str(dataset.path.name), "episodes": list(episodes), "frames": frames, "stride": stride}
    return write_store(samples, total, folder, rig, dataset.frequency_hz, made_from, progress)


def plan_labels(deltas: Array, known: Array, start: int, frequency_hz: float) -> tuple[Array, Array]:
    """Poses at 0.5 ... 4 s in the frame of frame `start`, [8, 3], and which of them are known, [8].

    Where such a moment falls between two frames, the pose lies between theirs (linear in position and yaw).
    """
    poses = np.zeros((len(PLAN_TIMES_S), 3))
    valid = np.zeros(len(PLAN_TIMES_S), dtype=bool)
    wanted = PLAN_TIMES_S * frequency_hz  # in steps from `start`
    wanted = np.where(np.abs(wanted - wanted.round()) < 1e-6, wanted.round(), wanted)
    here, j = np.zeros(3), 0
    for step in range(int(np.ceil(wanted[-1]))):
        index = start + step
        if not (0 <= index < len(deltas) and known[index]):
            break
        cos, sin = np.cos(here[2]), np.sin(here[2])
        dx, dy, dyaw = deltas[index]
        before, here = here, here + np.array([cos * dx - sin * dy, sin * dx + cos * dy, dyaw])
        while j < len(wanted) and wanted[j] <= step + 1:
            share = wanted[j] - step
            poses[j], valid[j] = (1 - share) * before + share * here, True
            j += 1
    return poses, valid
