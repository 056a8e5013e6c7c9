"""The world model: one sequence, four questions (imagine with and without actions, plan, explain)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from worldmodel.checkpoints import content_hash, load_folder, save_folder
from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadCheckpoint, BadRequest
from worldmodel.explaining import explain
from worldmodel.geometry import Array, Motion, Rig, Trajectory, wrap_angle
from worldmodel.guidance import FixedGuide, Guide
from worldmodel.memory import AnyMemory
from worldmodel.network import WorldActionTransformer
from worldmodel.planning import draw_plans, plan_of
from worldmodel.plans import Observation, Plan
from worldmodel.remembering import remember
from worldmodel.rollout import Past, Rollout, RolloutRequest, roll_out
from worldmodel.sampling import Sampling
from worldmodel.sequence import GuidancePart, Recall, ray_features
from worldmodel.text_encoders import TextEncoder, make_text_encoder
from worldmodel.tokenizer import Tokenizer, fill
from worldmodel.warping import Warp, poses_after

KIND = "detour-world-model"
MAX_SECONDS = 3600.0
DEFAULT_SAMPLING = Sampling()


class WorldModel:
    """Tokenizer, network and text encoder, and the four questions they answer."""

    kind = KIND  # what config.json says that it is

    def __init__(
        self,
        config: WorldModelConfig,
        tokenizer: Tokenizer,
        network: WorldActionTransformer,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        self.config, self.tokenizer, self.network = config, tokenizer.eval(), network.eval()
        self._text_encoder = text_encoder
        self._rays: dict[bytes, Tensor] = {}
        self._warps: dict[bytes, Warp] = {}
        self._hash: str | None = None

    # -- where it lives -------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    @property
    def text_encoder(self) -> TextEncoder:
        """The frozen text encoder, loaded at first use."""
        if self._text_encoder is None:
            self._text_encoder = make_text_encoder(self.config.text_encoder)
        return self._text_encoder

    @property
    def hash(self) -> str:
        """First 16 hex digits over tokenizer and network weights; computed once."""
        if self._hash is None:
            self._hash = content_hash(self._tensors())
        return self._hash

    def _tensors(self) -> dict[str, Tensor]:
        parts = {"tokenizer": self.tokenizer, "network": self.network}
        return {f"{part}.{name}": t.detach().cpu() for part, m in parts.items() for name, t in m.state_dict().items()}

    def to(self, device: torch.device | str) -> Self:
        """Move all weights; returns self."""
        self.tokenizer.to(device)
        self.network.to(device)
        self._rays.clear()
        self._warps.clear()
        return self

    def save_pretrained(
        self,
        folder: Path | str,
        card: str = "A Detour world model.\n",
        *,
        overwrite: bool = False,
        extra: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write config.json, bfloat16 weights in shards under 16 MB, the model card, and what it shows (`extra`, by name)."""
        config = {"kind": self.kind, **asdict(self.config)}
        tensors = self._tensors()
        save_folder(Path(folder), tensors, config, card, dtype=torch.bfloat16, overwrite=overwrite, extra=extra)

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

    def push_to_hub(self, repo_id: str, card: str = "A Detour world model.\n") -> str:
        """Upload the checkpoint to the hub ('owner/name'); returns the address of the commit."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repo_id, exist_ok=True)
        with tempfile.TemporaryDirectory() as parent:
            self.save_pretrained(Path(parent) / "model", card)
            return str(api.upload_folder(repo_id=repo_id, folder_path=Path(parent) / "model"))

    # -- inputs ---------------------------------------------------------------------------------------------------

    @property
    def per_chunk(self) -> int:
        """Frames per chunk."""
        return self.config.network.frames_per_chunk

    def _stat(self, name: str) -> Tensor:
        return torch.tensor(getattr(self.config, name), dtype=torch.float32, device=self.device)

    def normalised_steps(self, deltas: Array) -> Tensor:
        """SE(2) steps [..., 3] as the network reads them."""
        return (torch.from_numpy(deltas).float().to(self.device) - self._stat("step_mean")) / self._stat("step_std")

    def deltas(self, steps: Tensor) -> Array:
        """The inverse of `normalised_steps`, float64."""
        raw = (steps.float() * self._stat("step_std") + self._stat("step_mean")).cpu().numpy().astype(np.float64)
        raw[..., 2] = wrap_angle(raw[..., 2])
        return raw

    def rays(self, rig: Rig) -> Tensor:
        """Ray features of every token position [cameras, rows, columns, RAY_FEATURES]; kept for the next time."""
        key = _rig_key(rig)
        if key not in self._rays:
            self._rays[key] = ray_features(rig, self.config.network.grid).to(self.device)
        return self._rays[key]

    def warped_view(self, past: Past, steps: Tensor) -> Tensor | None:
        """Latents [B, F, C, ch, h, w] of the newest frame, as it would look after each of the normalised steps [B, F, 3].

        None for a network that does not read such a view.
        """
        poses = torch.from_numpy(poses_after(self.deltas(steps)))
        views = []
        for observation, way in zip(past.newest, poses, strict=True):
            last = torch.from_numpy(observation.video[-1:]).to(self.device).float() / 127.5 - 1
            seen = self._warp(observation.rig)(last, way[None].to(self.device))[0]
            views.append(self.tokenizer.latents(seen.flatten(0, 1)).unflatten(0, seen.shape[:2]))
        return torch.stack(views)

    def _warp(self, rig: Rig) -> Warp:
        key = _rig_key(rig)
        if key not in self._warps:
            self._warps[key] = Warp(rig, device=self.device)
        return self._warps[key]

    def period(self, batch: int) -> Tensor:
        """Seconds per frame [batch]."""
        return torch.full((batch,), 1 / self.config.frequency_hz, device=self.device)

    def guidance(self, texts: Sequence[str], chunk: int) -> GuidancePart:
        """One text per sample for one chunk."""
        features, valid = self.text_encoder.encode(texts)
        chunks = torch.tensor([chunk], device=self.device)
        return GuidancePart(
            chunks=chunks, features=features[:, None].to(self.device), valid=valid[:, None].to(self.device)
        )

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

    def recall(self, past: Past) -> Recall | None:
        """The past's memory, made ready for its next chunk."""
        layers = [past.memory.read(layer) for layer in range(self.config.network.layers)]
        return self.network.recall([layer for layer in layers if layer is not None], past.frames)

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


def _rig_key(rig: Rig) -> bytes:
    return b"".join(c.intrinsics.tobytes() + c.ego_from_camera.tobytes() for c in rig.cameras)


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
