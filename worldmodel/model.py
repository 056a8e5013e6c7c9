"""The world model: one sequence, four questions (imagine with and without actions, plan, explain)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldmodel.checkpoints import load_folder
from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadCheckpoint, BadRequest
from worldmodel.explaining import explain
from worldmodel.geometry import Array, Motion, Trajectory
from worldmodel.guidance import FixedGuide, Guide
from worldmodel.loaded import KIND, LoadedModel
from worldmodel.memory import AnyMemory
from worldmodel.network import WorldActionTransformer
from worldmodel.past import Past
from worldmodel.planning import draw_plans, plan_of
from worldmodel.plans import Observation, Plan
from worldmodel.remembering import remember
from worldmodel.requests import RolloutRequest
from worldmodel.rollout import Rollout, roll_out
from worldmodel.sampling import Sampling
from worldmodel.tokenizer import Tokenizer, fill

MAX_SECONDS = 3600.0
DEFAULT_SAMPLING = Sampling()


class WorldModel(LoadedModel):
    """A loaded model and the four questions it answers."""

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: torch.device | str = "cpu") -> "WorldModel":
        """Read a checkpoint folder, or fetch one from the hub by id ('owner/name'); 'wan:...' is a pretrained Wan.

        Raises:
            BadCheckpoint: if files, tensors or config do not fit; the message names them.
        """
        from worldmodel.backbones.model import KIND as WAN_KIND
        from worldmodel.backbones.model import WanWorldModel, is_wan

        if cls is WorldModel and is_wan(folder):
            return WanWorldModel.from_pretrained(folder, device)
        data, tensors = load_folder(folder, None)
        kind = data.pop("kind", None)
        if cls is WorldModel and kind == WAN_KIND:
            return WanWorldModel.from_pretrained(folder, device)
        if kind != KIND:
            raise BadCheckpoint(f"'{folder}' is not a Detour world model (its config.json has another kind).")
        config = WorldModelConfig.from_json(data)
        tokenizer, network = Tokenizer(config.tokenizer), WorldActionTransformer(config.network)
        parts: dict[str, dict[str, Tensor]] = {"tokenizer": {}, "network": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            if part not in parts:
                raise BadCheckpoint(f"'{folder}' has an unexpected tensor '{name}'. Use an unmodified checkpoint.")
            parts[part][rest] = tensor
        fill(tokenizer, parts["tokenizer"], f"{folder} (tokenizer)")
        fill(network, parts["network"], f"{folder} (network)")
        return cls(config, tokenizer, network).to(device)

    # -- memory ---------------------------------------------------------------------------------------------------

    def remember(
        self, observations: Sequence[Observation], memory: AnyMemory | None = None, *, with_steps: bool = True
    ) -> Past:
        """Read the observations (same rig layout, same number of frames) into a memory.

        Args:
            memory: An empty one to fill; None: the default of `Sampling`.
            with_steps: False withholds the past motion, so that answers must come from pixels.

        Raises:
            BadRequest, ClipTooShort: if the observations do not fit the model or each other.
        """
        memory = DEFAULT_SAMPLING.empty_memory(self.config.history_chunks) if memory is None else memory
        return remember(self, observations, memory, with_steps=with_steps)

    # -- imagine --------------------------------------------------------------------------------------------------

    def imagine(
        self,
        observation: Observation,
        *,
        seconds: float,
        seed: int = 0,
        actions: Trajectory | None = None,
        guide: Guide | None = None,
        sampling: Sampling = DEFAULT_SAMPLING,
        on_chunk: Callable[[int, int, Array], None] | None = None,
    ) -> Rollout:
        """Imagine how the drive goes on.

        Args:
            seconds: Horizon; positive, at most one hour.
            seed: Of the noise; the same seed gives the same rollout, and 8 s are the beginning of 16 s.
            actions: Poses to drive, in the ego frame of now; must cover the horizon. None: the model imagines them.
            guide: Which text steers each chunk; None: the observation's instruction.
            sampling: Steps, sampler, guidance scales, memory and its sizes.
            on_chunk: Called with (chunk, chunks, video so far of that chunk).
        Raises:
            BadRequest, ClipTooShort, Diverged.
        """
        return self.imagine_batch(
            [observation],
            seconds=seconds,
            seeds=[seed],
            actions=None if actions is None else [actions],
            guides=None if guide is None else [guide],
            sampling=sampling,
            on_chunk=on_chunk,
        )[0]

    def imagine_batch(
        self,
        observations: Sequence[Observation],
        *,
        seconds: float,
        seeds: Sequence[int],
        actions: Sequence[Trajectory] | None = None,
        guides: Sequence[Guide] | None = None,
        sampling: Sampling = DEFAULT_SAMPLING,
        on_chunk: Callable[[int, int, Array], None] | None = None,
    ) -> list[Rollout]:
        """`imagine` for several observations with equal rig layout and history at once; results in order."""
        check_horizon(seconds)
        _check_counts(len(observations), seeds=seeds, actions=actions, guides=guides)
        guides = guides or [FixedGuide(text=observation.instruction) for observation in observations]
        started = time.perf_counter()
        past = self.remember(observations, sampling.empty_memory(self.config.history_chunks))
        encoded = time.perf_counter() - started
        rollouts = self.go_on(
            past,
            seconds=seconds,
            seeds=seeds,
            actions=actions,
            guides=guides,
            sampling=sampling,
            on_chunk=on_chunk,
        )
        return [replace(rollout, timing={"encode_s": encoded, **rollout.timing}) for rollout in rollouts]

    def go_on(
        self,
        past: Past,
        *,
        seconds: float,
        seeds: Sequence[int],
        actions: Sequence[Trajectory] | None = None,
        guides: Sequence[Guide] | None = None,
        sampling: Sampling = DEFAULT_SAMPLING,
        on_chunk: Callable[[int, int, Array], None] | None = None,
    ) -> list[Rollout]:
        """Imagine further from a past, e.g. `rollout.past`; whole chunks continue exactly as if never interrupted.

        `actions` and `guides` count their time from the first imagined frame of all, not from here. Without guides the
        instruction that was observed goes on. The past brings its memory, whatever memory `sampling` names; begin one of
        your own kind with `remember(observations, memory)`.
        """
        check_horizon(seconds)
        _check_counts(len(past.rays), seeds=seeds, actions=actions, guides=guides)
        request = RolloutRequest(
            frames=max(1, round(seconds * self.config.frequency_hz)),
            seeds=tuple(seeds),
            guides=tuple(guides or [FixedGuide(text=text) for text in past.instructions]),
            actions=None if actions is None else tuple(actions),
            sampling=sampling,
            on_chunk=on_chunk,
        )
        return roll_out(self, past, request)

    # -- plan and explain -----------------------------------------------------------------------------------------

    def plan(
        self,
        observation: Observation,
        *,
        seed: int = 0,
        samples: int = 1,
        steps: int = 8,
        past: Past | None = None,
        stale_s: float = 0.0,
    ) -> Plan:
        """What should I do? Video and steps are absent; only the narrow expert runs against the memory.

        Args:
            samples: Plans drawn; the answer is their mean (of headings: as directions).
            past: A ready memory of this observation (`remember`), to save reading it again.
            stale_s: With an older memory: how long before now its newest frame was taken, in whole chunks. The plan is
                for now, and the network is told that it has not seen the time between.
        """
        text = FixedGuide(text=observation.instruction).text
        started = time.perf_counter()
        past = past or self.remember([observation])
        ready = time.perf_counter()
        [values] = draw_plans(self, past, texts=[text], seeds=[seed], samples=samples, steps=steps, stale_s=stale_s)
        return plan_of(values, {"remember_s": ready - started, "plan_s": time.perf_counter() - ready})

    def explain(self, observation: Observation, *, seed: int = 0, steps: int = 8) -> Motion:
        """Which motion explains these frames? Reads pixels only: past steps are withheld.

        The first chunk is context; the answer holds the steps into every later frame, [frames - 4, 3], for as many
        whole chunks as there are.

        Raises:
            ClipTooShort: for fewer than two chunks.
        """
        return self.explain_batch([observation], seed=seed, steps=steps)[0]

    def explain_batch(self, observations: Sequence[Observation], *, seed: int = 0, steps: int = 8) -> list[Motion]:
        """`explain` for several observations of equal length and rig layout."""
        return explain(self, observations, seed=seed, steps=steps)


def check_horizon(seconds: float) -> None:
    """Say why a horizon makes no sense.

    Raises:
        BadRequest: if it is not positive or longer than an hour.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise BadRequest(
            f"a horizon of {seconds:g} s was asked for; it must be positive and at most {MAX_SECONDS:g} s."
        )


def _check_counts(batch: int, **given: Sequence[Any] | None) -> None:
    for name, values in given.items():
        if values is not None and len(values) != batch:
            raise BadRequest(f"{batch} observations came with {len(values)} {name}. Give one for each observation.")
