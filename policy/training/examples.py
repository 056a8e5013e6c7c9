"""Training examples: every frame of the expert's drives that has half a second behind it and 4 s ahead.

No stitched frame gets in: a store holds rendered scenes and recordings alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from policy.planner_config import STEPS_SEEN, PlannerConfig
from policy.seeing import ego_status, text_means
from policy.training.labels import Label, known_motion, labels_of
from worldmodel.errors import BadDataset
from worldmodel.geometry import Array
from worldmodel.sequence import ray_features
from worldmodel.text_encoders import TextEncoder
from worldmodel.training.store import Store

HELD_OUT = 20  # every so many clips, one is kept out of training


@dataclass(frozen=True, eq=False, kw_only=True)
class Example:
    """One frame of one clip of one store, and what follows it."""

    store: int
    clip: int
    frame: int
    label: Label


def find_examples(stores: Sequence[Store], config: PlannerConfig) -> tuple[list[Example], list[Example]]:
    """Examples to train on, and those of the clips that are held out.

    Raises:
        BadDataset: if there is none to train on, or a store has another rate or number of cameras than the planner.
    """
    first = max(*config.history_frames, STEPS_SEEN)
    train: list[Example] = []
    held_out: list[Example] = []
    for number, store in enumerate(stores):
        _check(store, config)
        experts = [clip for clip in range(len(store)) if store.expert[clip]]
        for place, clip in enumerate(experts):
            labels = labels_of(known_motion(store, clip), range(first, store.video.shape[1]))
            found = [Example(store=number, clip=clip, frame=f, label=label) for f, label in labels.items()]
            (held_out if place % HELD_OUT == HELD_OUT - 1 else train).extend(found)
    if not train:
        raise BadDataset(
            "the training stores have no frame of an expert's drive with 4 s of known motion ahead. Make them from longer "
            "scenes or clips with motion."
        )
    return train, held_out


def _check(store: Store, config: PlannerConfig) -> None:
    if abs(store.frequency_hz - config.frequency_hz) > 1e-6 or store.video.shape[2] != config.cameras:
        raise BadDataset(
            f"'{store.folder}' has {store.video.shape[2]} cameras at {store.frequency_hz:g} Hz; this planner is to have "
            f"{config.cameras} at {config.frequency_hz:g} Hz. Choose another preset or other data."
        )


def with_statistics(config: PlannerConfig, examples: Sequence[Example], stores: Sequence[Store]) -> PlannerConfig:
    """The config with means and standard deviations of steps and plans over examples."""
    steps = np.concatenate([_steps(stores, example) for example in examples[::7]])
    plans = np.stack([example.label.poses for example in examples])
    return replace(
        config,
        step_mean=tuple(steps.mean(0).tolist()),
        step_std=tuple(np.maximum(steps.std(0), 1e-3).tolist()),
        plan_mean=tuple(map(tuple, plans.mean(0).tolist())),
        plan_std=tuple(map(tuple, np.maximum(plans.std(0), 1e-2).tolist())),
    )


def _steps(stores: Sequence[Store], example: Example) -> Array:
    deltas = stores[example.store].deltas[example.clip]
    return np.asarray(deltas[example.frame - STEPS_SEEN : example.frame])


class ExampleReader:
    """Makes batches of examples: inputs as `policy.seeing.Seen` names them, and labels.

    Args:
        latents: Of every store, [clip, time, camera, channel, h, w]; None for a planner without pixels.
    """

    def __init__(
        self, stores: Sequence[Store], latents: Sequence[Array] | None, config: PlannerConfig, encoder: TextEncoder
    ) -> None:
        self.stores, self.latents, self.config = stores, latents, config
        self._rays = [ray_features(store.rig, (config.rows, config.columns)) for store in stores]
        self._mean, self._std = np.array(config.plan_mean), np.array(config.plan_std)
        texts = sorted({text for store in stores for text in _texts(store)})
        self._rows = {text: row for row, text in enumerate(texts)}
        self._texts = text_means(encoder, texts)

    def batch(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Tensors, batch first: cells, rays, ego, text; plan, route, route_known, decisions, states, states_known,
        objects, objects_known."""
        rows = [self._row(example) for example in examples]
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        batch["rays"] = torch.stack([self._rays[example.store] for example in examples])
        batch["text"] = self._texts[[self._rows[self._text(example)] for example in examples]]
        return batch

    def _row(self, example: Example) -> dict[str, Array]:
        label = example.label
        cells, states, known = self._pictures(example)
        objects, objects_known = self._objects(example)
        return {
            "objects": objects,
            "objects_known": objects_known,
            "cells": cells,
            "states": states,
            "states_known": known,
            "ego": ego_status(self.config, _steps(self.stores, example)),
            "plan": ((label.poses - self._mean) / self._std).astype(np.float32),
            "route": label.route.astype(np.float32),
            "route_known": np.arange(len(label.route)) < label.route_known,
            "decisions": label.decisions,
        }

    def _pictures(self, example: Example) -> tuple[Array, Array, Array]:
        config, frame = self.config, example.frame
        later = frame + np.array(config.state_frames)
        if self.latents is None:
            shape = (config.cameras, config.channels, config.rows, config.columns)
            zeros = np.zeros((len(config.history_frames), *shape), np.float32)
            return zeros, np.zeros((len(later), *shape), np.float32), np.zeros(len(later), bool)
        latents = self.latents[example.store][example.clip]
        known = later < len(latents)
        states = np.asarray(latents[np.where(known, later, frame)], np.float32)
        return np.asarray(latents[[frame - age for age in config.history_frames]], np.float32), states, known

    def _objects(self, example: Example) -> tuple[Array, Array]:
        """Share of each cell that shows road users and obstacles [cells], and whether that is known: of the town."""
        config, store = self.config, self.stores[example.store]
        if self.latents is None or "town" not in store.made_from:
            return np.zeros(config.cells, np.float32), np.array(False)
        shown = store.objects[example.clip, example.frame]  # [camera, h, w]
        height, width = shown.shape[1] // config.rows, shown.shape[2] // config.columns
        shares = shown.reshape(config.cameras, config.rows, height, config.columns, width).mean(axis=(2, 4))
        return shares.reshape(-1).astype(np.float32), np.array(True)

    def _text(self, example: Example) -> str:
        store = self.stores[example.store]
        if store.words is None:
            return store.texts[example.clip]
        return store.words[example.clip].at("instruction", example.frame / store.frequency_hz)


def _texts(store: Store) -> set[str]:
    if store.words is None:
        return set(store.texts)
    return {"", *(text for words in store.words for _, text in words.instruction)}
