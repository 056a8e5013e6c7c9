"""A model that is loaded: tokenizer, network and text encoder, and everything in between in the model's own units.

The four questions stand on it (`worldmodel.model`); what answers them takes a `LoadedModel`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from worldmodel.checkpoints import content_hash, save_folder
from worldmodel.config import WorldModelConfig
from worldmodel.geometry import Array, Rig, wrap_angle
from worldmodel.network import WorldActionTransformer
from worldmodel.past import Past
from worldmodel.sequence import GuidancePart, Recall, ray_features
from worldmodel.text_encoders import TextEncoder, make_text_encoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.warping import Warp, poses_after

KIND = "detour-world-model"


class LoadedModel:
    """Tokenizer, network and text encoder, where they live, and what they read and write."""

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
            views.append(self._warp(observation.rig)(last, way[None].to(self.device))[0])
        seen = torch.stack(views)
        return self.tokenizer.latents(seen.flatten(0, 2)).unflatten(0, seen.shape[:3])

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

    def recall(self, past: Past) -> Recall | None:
        """The past's memory, made ready for its next chunk."""
        layers = [past.memory.read(layer) for layer in range(self.config.network.layers)]
        return self.network.recall([layer for layer in layers if layer is not None], past.frames)


def _rig_key(rig: Rig) -> bytes:
    return b"".join(c.intrinsics.tobytes() + c.ego_from_camera.tobytes() for c in rig.cameras)
