"""What is learned on a pretrained Wan: chunk-causal attention, motion in and out, cameras, plans.

The layout is that of our own network (`worldmodel.training.tasks`): clean chunks (with a little noise, its level given) that
become memory, and noisy copies that read the earlier ones. Pictures are coded as they are needed: a causal autoencoder has
no latents that fit every window.

Shape suffixes: B batch, K chunks, F frames, C cameras.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldmodel.backbones.draws import Draw
from worldmodel.backbones.model import WanWorldModel
from worldmodel.backbones.text import TEXT_TOKENS
from worldmodel.flow import mix, velocity_target
from worldmodel.geometry import Array
from worldmodel.memory.entries import ChunkEntry, joined
from worldmodel.sequence import FramesPart, GuidancePart, Output, PlanPart, Recall, TokenSequence, ray_features
from worldmodel.training.draws import Batch, batch_random
from worldmodel.training.encoded import Encoded
from worldmodel.training.presets import Preset
from worldmodel.training.store import Store, plan_labels
from worldmodel.training.tasks import OWN_STEPS, masked_mean


class Additions(nn.Module):
    """What is trained of a network, as a module of its own; the frozen rest rides along and is neither saved nor averaged."""

    def __init__(self, model: WanWorldModel) -> None:
        super().__init__()
        named = model.network.named_parameters()
        self.trained = nn.ParameterDict({trained_key(name): value for name, value in named if value.requires_grad})
        self._whole = (model.network, model.tokenizer)  # in a tuple, so that torch does not register them

    def forward(self, sequence: TokenSequence) -> Output:
        """See `WanNetwork.forward`."""
        output: Output = self._whole[0](sequence)
        return output

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Additions":
        for module in self._whole:
            module._apply(fn, recurse)
        return self


def trained_key(name: str) -> str:
    """The name under which `Additions` holds a parameter of the network."""
    return name.replace(".", "/")  # torch allows no dots in the names of a ParameterDict


class WanTask:
    """Denoise chunks with clean history, as `worldmodel.training.tasks.WorldActionTask` does for our own network.

    Args:
        begin: Makes the model to begin with; called once, by `module`.
        chunks: Chunks per clip; the first is history only.
        own_history: Share of batches whose clean history is the model's own rollout.
    Every sample keeps its history; warped views and staleness are not trained, as Wan has no input for the former.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[], WanWorldModel],
        store: Store,
        preset: Preset,
        *,
        chunks: int,
        own_history: float,
        seed: int,
    ) -> None:
        self.name, self.store, self.preset, self.chunks, self.seed = name, store, preset, chunks, seed
        self.own_history = own_history
        self._begin = begin
        self._model: WanWorldModel | None = None
        self._texts: list[Tensor] = []

    @property
    def model(self) -> WanWorldModel:
        """The model that is trained."""
        assert self._model is not None
        return self._model

    def module(self) -> nn.Module:
        """The additions of a model on the backbone; texts are encoded now, and the text encoder is not moved."""
        model = self._model = self._begin()
        model.network.checkpointing = True
        spoken = {text for words in self.store.words or () for text in words.texts()}
        unique = sorted({*self.store.texts, *spoken, ""})
        encoder: Any = model.text_encoder
        self._texts = [encoder.features(text) for text in unique]
        nothing = torch.empty(0)
        self._source = Encoded(
            store=self.store,
            latents=np.empty(0),
            rays=ray_features(self.store.rig, model.config.network.grid),
            texts=nothing,
            texts_valid=nothing,
            rows={text: row for row, text in enumerate(unique)},
        )
        return Additions(model)

    # -- data -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, world: int) -> Batch:  # noqa: ARG002
        """Random windows of the store: pictures, steps, plans and texts."""
        random = batch_random(self.seed, step, rank)
        rows = [self._row(random) for _ in range(self.preset.batch_clips)]
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0] if name != "text"}
        texts = [self._texts[index] for row in rows for index in row["text"]]
        longest, shape = max(map(len, texts)), (len(rows), self.chunks - 1)
        padded = torch.stack([nn.functional.pad(text, (0, 0, 0, longest - len(text))) for text in texts])
        batch["text"] = padded.unflatten(0, shape)
        batch["text_valid"] = torch.stack([torch.arange(longest) < len(text) for text in texts]).unflatten(0, shape)
        batch["rays"] = self._source.rays[None].expand(len(rows), -1, -1, -1, -1)
        batch["period_s"] = torch.full((len(rows),), 1 / self.store.frequency_hz)
        return batch

    def _row(self, random: np.random.Generator) -> dict[str, Array]:
        store, config, per = self.store, self.model.config, self.model.per_chunk
        frames, clip = self.chunks * per, int(random.integers(len(self.store)))
        start = int(random.integers(store.video.shape[1] - frames + 1))
        steps, known = np.zeros((frames, 3)), np.zeros(frames, dtype=bool)
        steps[1:] = (store.deltas[clip, start : start + frames - 1] - config.step_mean) / np.array(config.step_std)
        known[1:] = store.known[clip, start : start + frames - 1]
        firsts = [start + k * per - 1 for k in range(1, self.chunks)]
        labels = [plan_labels(store.deltas[clip], store.known[clip], s, store.frequency_hz) for s in firsts]
        plans = np.stack([(poses - np.array(config.plan_mean)) / np.array(config.plan_std) for poses, _ in labels])
        return {
            "pictures": np.array(store.video[clip, start : start + frames]),
            "steps": (steps * known[:, None]).astype(np.float32),
            "known": known,
            "plans": plans.astype(np.float32),
            "plans_known": np.stack([valid & store.expert[clip] for _, valid in labels]),
            "text": self._source.texts_of(clip, [first + 1 for first in firsts], per, self.preset, random),
        }

    # -- loss -----------------------------------------------------------------------------------------------------

    def loss(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Video velocity loss + steps + plan, on the noisy copies."""
        latents, _ = self.model.tokenizer.encode_tensor(batch["pictures"])
        draw = Draw.of(self.model.config, self.preset.modes, batch, latents, generator)
        if self.own_history and float(torch.rand((), generator=generator)) < self.own_history:
            draw = self._with_own_history(batch, draw, latents)
        output: Output = module(self._sequence(batch, draw))
        assert output.video is not None
        assert output.steps is not None
        assert output.plan is not None
        per = self.model.per_chunk
        video = (output.video - velocity_target(latents[:, 1:], draw.video_noise)).square().mean(dim=(2, 3, 4, 5))
        steps = (output.steps - velocity_target(batch["steps"][:, per:], draw.steps_noise)).square().mean(dim=-1)
        plan = (output.plan - velocity_target(batch["plans"], draw.plan_noise)).square().mean(dim=-1)
        parts = {
            "video": masked_mean(video, (draw.mode <= 1)[:, None].expand_as(video)),
            "steps": masked_mean(steps, (draw.mode != 1)[:, None] & batch["known"][:, per:]),
            "plan": masked_mean(plan, batch["plans_known"]),
        }
        total = parts["video"] + self.preset.steps_weight * parts["steps"] + self.preset.plan_weight * parts["plan"]
        return total, {name: value.detach() for name, value in parts.items()}

    @torch.no_grad()
    def _with_own_history(self, batch: Batch, draw: Draw, latents: Tensor) -> Draw:
        """Replace the clean video by the model's own rollout along the known steps, as in `worldmodel.training.tasks`."""
        network, per, level = self.model.network, self.model.per_chunk, draw.level[:, None, None, None, None, None]
        own = (draw.mode <= 1)[:, None, None, None, None, None]
        clean = latents[:, :-1].clone()
        entries: list[ChunkEntry] = []
        for chunk in range(self.chunks - 1):
            here, now, this = slice(chunk * per, (chunk + 1) * per), float(chunk * per), slice(chunk, chunk + 1)
            layers = [joined(entries, layer) for layer in range(self.model.config.network.layers)]
            recall = network.recall([layer for layer in layers if layer is not None], now)
            if chunk:
                made = self._imagined_chunk(batch, draw, chunk, recall)
                clean[:, this] = torch.where(own, made, clean[:, this])
            part = FramesPart(
                frames=torch.arange(here.start, here.stop, device=clean.device),
                clean=True,
                steps=draw.clean_steps[:, here],
                steps_time=draw.clean_steps_time[:, here],
                video=mix(clean[:, this], draw.history_noise[:, this], level),
                video_time=draw.level[:, None].expand(-1, per),
            )
            sequence = TokenSequence(frames=(part,), rays=batch["rays"], period_s=batch["period_s"])
            entries.append(network(sequence, recall, now=now, remember=True).entry)
        return replace(draw, clean_video=mix(clean, draw.history_noise, level))

    def _imagined_chunk(self, batch: Batch, draw: Draw, chunk: int, recall: Recall | None) -> Tensor:
        """One chunk's latents [B, 1, C, ...] in OWN_STEPS Euler steps; its steps are given where they are known."""
        per, before = self.model.per_chunk, slice(chunk - 1, chunk)
        here, noisy = slice(chunk * per, (chunk + 1) * per), slice((chunk - 1) * per, chunk * per)
        unknown = (~batch["known"][:, here]).float()
        steps = torch.where(unknown[..., None] > 0, draw.steps_noise[:, noisy], batch["steps"][:, here])
        state = draw.video_noise[:, before]
        for step in range(OWN_STEPS, 0, -1):
            part = FramesPart(
                frames=torch.arange(here.start, here.stop, device=state.device),
                clean=False,
                steps=steps,
                steps_time=unknown,
                video=state,
                video_time=torch.full_like(unknown, step / OWN_STEPS),
            )
            sequence = TokenSequence(
                frames=(part,), rays=batch["rays"], period_s=batch["period_s"], guidance=self._guidance(batch, before)
            )
            output: Output = self.model.network(sequence, recall, now=float(here.start))
            assert output.video is not None
            state = state - output.video / OWN_STEPS
        return state

    def _guidance(self, batch: Batch, which: slice) -> GuidancePart:
        """The texts of some of the denoised chunks, which count from the first of these."""
        missing = TEXT_TOKENS - batch["text"].shape[2]
        return GuidancePart(
            chunks=torch.arange(1, self.chunks, device=batch["text"].device)[which],
            features=nn.functional.pad(batch["text"][:, which], (0, 0, 0, missing)),
            valid=nn.functional.pad(batch["text_valid"][:, which], (0, missing)),
        )

    def _sequence(self, batch: Batch, draw: Draw) -> TokenSequence:
        per, device = self.model.per_chunk, batch["steps"].device
        frames, chunks = torch.arange(self.chunks * per, device=device), torch.arange(1, self.chunks, device=device)
        clean = FramesPart(
            frames=frames[:-per],
            clean=True,
            steps=draw.clean_steps,
            steps_time=draw.clean_steps_time,
            video=draw.clean_video,
            video_time=draw.level[:, None].expand(-1, len(frames) - per),
        )
        noisy = FramesPart(
            frames=frames[per:],
            clean=False,
            steps=draw.noisy_steps,
            steps_time=draw.steps_time,
            video=draw.noisy_video,
            video_time=draw.video_time.repeat_interleave(per, dim=1),
            video_present=draw.mode != 2,
        )
        return TokenSequence(
            frames=(clean, noisy),
            rays=batch["rays"],
            period_s=batch["period_s"],
            plan=PlanPart(chunks=chunks, values=draw.noisy_plans, time=draw.plan_time),
            guidance=self._guidance(batch, slice(None)),
        )
