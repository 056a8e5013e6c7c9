"""Training data as a network reads it: latents, texts, warped views, and the statistics that normalise motion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.geometry import Array, Rig
from worldmodel.text_encoders import TextEncoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.presets import Preset
from worldmodel.training.store import Store, plan_labels
from worldmodel.warping import Warp, poses_after, warped_latents


def motion_statistics(stores: Sequence[Store]) -> dict[str, Any]:
    """Means and standard deviations of steps and plan poses, for `WorldModelConfig`."""
    steps = np.concatenate([store.deltas[store.known] for store in stores])
    if not len(steps):
        return {}
    plans = []
    for store in stores:
        frames = store.video.shape[1]
        for clip in range(0, len(store), max(1, len(store) // 400)):
            for start in range(3, frames, 4):
                poses, valid = plan_labels(store.deltas[clip], store.known[clip], start, store.frequency_hz)
                if valid.all() and store.expert[clip]:
                    plans.append(poses)
    stats = {"step_mean": tuple(steps.mean(0).tolist()), "step_std": tuple(np.maximum(steps.std(0), 1e-3).tolist())}
    if plans:
        values = np.stack(plans)
        stats["plan_mean"] = tuple(map(tuple, values.mean(0).tolist()))
        stats["plan_std"] = tuple(map(tuple, np.maximum(values.std(0), 1e-2).tolist()))
    return stats


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """A store as latents, with its rays and the features of all its texts; `rows` says where a text's features are."""

    store: Store
    latents: Array
    rays: Tensor
    texts: Tensor
    texts_valid: Tensor
    rows: dict[str, int]

    @staticmethod
    def of(store: Store, latents: Array, rays: Tensor, encoder: TextEncoder) -> "Encoded":
        """Encode the store's texts, and the empty one for samples that drop theirs."""
        said = {text for words in store.words or () for text in words.texts()}
        unique = sorted({*store.texts, *said, ""})
        features, valid = encoder.encode(unique)
        rows = {text: row for row, text in enumerate(unique)}
        return Encoded(store=store, latents=latents, rays=rays, texts=features, texts_valid=valid, rows=rows)

    def texts_of(
        self, clip: int, starts: Sequence[int], per_chunk: int, preset: Preset, random: np.random.Generator
    ) -> Array:
        """Rows of the texts for the chunks of a clip that begin at the frames `starts`, int64 [chunks].

        Some samples hear nothing, some the hints or what is seen, the others what the driver is told.
        """
        if random.random() < preset.text_drop:
            return np.full(len(starts), self.rows[""])
        if self.store.words is None:
            return np.full(len(starts), self.rows[self.store.texts[clip]])
        words, draw = self.store.words[clip], random.random()
        sort = "hint" if draw < preset.hint_share else "instruction"
        sort = "description" if draw > 1 - preset.description_share else sort
        sort = sort if words.has(sort) else "instruction"
        shift = (per_chunk - 1) / 2 if sort == "hint" else -1  # hints are about the chunk, the others are known before
        times = [(first + shift) / self.store.frequency_hz for first in starts]
        return np.array([self.rows[words.at(sort, max(0.0, time_s))] for time_s in times])


class Views:
    """Warped views of latents: decoded, warped along known steps (`worldmodel.warping`), and encoded again."""

    def __init__(self, tokenizer: Tokenizer, rigs: Sequence[Rig]) -> None:
        self.tokenizer, self._rigs = tokenizer, rigs
        self._warps: dict[int, Warp] = {}

    @torch.no_grad()
    def __call__(self, last: Tensor, deltas: Tensor, source: int = 0) -> Tensor:
        """Latents [n, F, C, ch, h, w] of the views after each of the steps [n, F, 3] (metres, radians) from `last` [n, C, ch, h, w]."""
        if self.tokenizer.device != last.device:
            self.tokenizer.to(last.device)
        if source not in self._warps:
            self._warps[source] = Warp(self._rigs[source], device=last.device)
        poses = torch.from_numpy(poses_after(deltas.double().cpu().numpy())).to(last.device)
        return warped_latents(self.tokenizer, self._warps[source], last, poses)
