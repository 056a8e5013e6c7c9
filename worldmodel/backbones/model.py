"""A world model that stands on Wan: the same questions and answers as `WorldModel`, the pictures from pretrained weights.

    WorldModel.from_pretrained("wan:FOLDER_OR_HUB_ID")              # Wan as it is, 480x832 pictures
    WorldModel.from_pretrained("wan:FOLDER_OR_HUB_ID@256x448@8")    # at another size and rate
    WorldModel.from_pretrained("runs/tuned")                        # additions trained on such a model, and where it is

A checkpoint of ours holds what was added or trained and names the backbone, whose files stay where they are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldmodel.backbones.autoencoder import WanTokenizer
from worldmodel.backbones.config import WanModelConfig, WanTokenizerConfig
from worldmodel.backbones.files import TEMPORAL_STRIDE, WanFiles, find_wan, load_part
from worldmodel.backbones.low_rank import add_low_rank
from worldmodel.backbones.text import Umt5TextEncoder
from worldmodel.backbones.wan import WanNetwork
from worldmodel.checkpoints import content_hash, load_folder, read_json
from worldmodel.errors import BadCheckpoint
from worldmodel.memory import AnyMemory
from worldmodel.model import WorldModel
from worldmodel.past import Past
from worldmodel.plans import Observation
from worldmodel.sequence import NetworkConfig
from worldmodel.text_encoders import TextEncoder
from worldmodel.tokenizer import fill

KIND = "detour-wan-world-model"
PREFIX = "wan:"
_SPEC = re.compile(r"wan:(?P<source>.+?)(@(?P<height>\d{1,5})x(?P<width>\d{1,5}))?(@(?P<hertz>\d+(\.\d+)?))?")
_TRAINED_CHUNKS = 21  # 81 frames, as Wan 2.1 was trained
_ACTION_WIDTH = 256


@dataclass(frozen=True, kw_only=True)
class WanSpec:
    """What 'wan:SOURCE[@HEIGHTxWIDTH][@HERTZ]' says."""

    source: str
    height_px: int = 480
    width_px: int = 832
    frequency_hz: float = 8.0


def is_wan(source: Path | str) -> bool:
    """Whether a name means Wan: with its prefix, or a folder of ours that stands on it."""
    if str(source).startswith(PREFIX):
        return True
    config = Path(source) / "config.json"
    return config.is_file() and read_json(config).get("kind") == KIND


def parse_spec(text: str) -> WanSpec:
    """Read 'wan:SOURCE[@HEIGHTxWIDTH][@HERTZ]'.

    Raises:
        BadCheckpoint: if it has another form.
    """
    found = _SPEC.fullmatch(text)
    if found is None:
        raise BadCheckpoint(
            f"'{text}' is no name of a Wan model; 'wan:FOLDER', 'wan:FOLDER@HEIGHTxWIDTH' or 'wan:FOLDER@HEIGHTxWIDTH@HERTZ' "
            "is needed, as in 'wan:Wan-AI/Wan2.1-T2V-1.3B-Diffusers@256x448'. Correct the name."
        )
    given = {name: value for name, value in found.groupdict().items() if value is not None}
    spec = WanSpec(source=given["source"])
    if "height" in given:
        spec = replace(spec, height_px=int(given["height"]), width_px=int(given["width"]))
    return replace(spec, frequency_hz=float(given["hertz"])) if "hertz" in given else spec


def wan_config(files: WanFiles, spec: WanSpec) -> WanModelConfig:
    """The config of a fresh model on a backbone.

    Raises:
        BadCheckpoint: if the pictures do not divide into tokens.
    """
    stride, transformer = files.spatial_stride, files.transformer
    each = stride * files.patch
    if spec.height_px % each or spec.width_px % each or not spec.height_px * spec.width_px or spec.frequency_hz <= 0:
        raise BadCheckpoint(
            f"pictures of {spec.height_px}x{spec.width_px} at {spec.frequency_hz:g} Hz were asked for; the sides must be "
            f"multiples of {each} and the rate positive. Name another size, as in 'wan:{spec.source}@{each * 4}x{each * 7}'."
        )
    heads, head_size = int(transformer["num_attention_heads"]), int(transformer["attention_head_dim"])
    channels = int(files.vae["z_dim"])
    network = NetworkConfig(
        latent_channels=channels,
        latent_height=spec.height_px // stride,
        latent_width=spec.width_px // stride,
        patch=files.patch,
        frames_per_chunk=TEMPORAL_STRIDE,
        width=heads * head_size,
        action_width=min(_ACTION_WIDTH, heads * head_size),
        layers=int(transformer["num_layers"]),
        heads=heads,
        head_size=head_size,
        text_width=int(transformer["text_dim"]),
        oldest_frames=_TRAINED_CHUNKS * TEMPORAL_STRIDE,
    )
    return WanModelConfig(
        preset="wan",
        tokenizer=WanTokenizerConfig(stride=stride, channels=channels),
        network=network,
        text_encoder="umt5",
        frequency_hz=spec.frequency_hz,
        cameras=1,
        history_chunks=_TRAINED_CHUNKS // 3,
        history_noise=0.0,
        video_shift=files.flow_shift,
        backbone=spec.source,
        fingerprint=files.fingerprint(),
    )


class WanWorldModel(WorldModel):
    """`WorldModel` on a pretrained Wan."""

    kind = KIND
    config: WanModelConfig
    tokenizer: WanTokenizer
    network: WanNetwork

    @property
    def hash(self) -> str:
        """First 16 hex digits over what was trained and the backbone's fingerprint; computed once."""
        if not self.config.stages:  # additions say nothing before they are trained, and begin at random
            return self.config.fingerprint
        if self._hash is None:
            marked = {f"{self.config.fingerprint}.{name}": tensor for name, tensor in self._tensors().items()}
            self._hash = content_hash(marked)
        return self._hash

    def _tensors(self) -> dict[str, Tensor]:
        """What the checkpoint holds: all that is not the backbone's own."""
        return {
            f"network.{name}": t.detach().cpu() for name, t in own_tensors(self.network, self.config.trained).items()
        }

    def save_pretrained(
        self,
        folder: Path | str,
        card: str = "A Detour world model on Wan.\n",
        *,
        overwrite: bool = False,
        extra: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write config.json, what was added in bfloat16, the card and `extra`; the backbone is named, not copied."""
        super().save_pretrained(folder, card, overwrite=overwrite, extra=extra)

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: torch.device | str = "cpu") -> "WanWorldModel":
        """Read 'wan:SOURCE...' or a checkpoint of ours; bfloat16 on an accelerator, float32 on the CPU.

        Raises:
            BadCheckpoint: if files, tensors or config do not fit; the message names them.
        """
        dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
        return cls.loaded(folder, dtype).to(device)

    @classmethod
    def loaded(cls, folder: Path | str, dtype: torch.dtype) -> "WanWorldModel":
        """`from_pretrained` on the CPU, with the backbone's weights in a type of one's own choice."""
        if str(folder).startswith(PREFIX):
            spec = parse_spec(str(folder))
            files = find_wan(spec.source)
            return cls.built(wan_config(files, spec), files, dtype)
        data, tensors = load_folder(folder)
        if data.pop("kind", None) != KIND:
            raise BadCheckpoint(f"'{folder}' is no world model on Wan. Use WorldModel.from_pretrained.")
        config = WanModelConfig.from_json(data)
        beside = Path(folder) / config.backbone
        files = find_wan(beside if beside.is_dir() else config.backbone)
        if files.fingerprint() != config.fingerprint:
            raise BadCheckpoint(
                f"'{folder}' was trained on a backbone with fingerprint {config.fingerprint}, but '{config.backbone}' has "
                f"{files.fingerprint()}. The same weights are needed. Name them under 'backbone' in its config.json."
            )
        model = cls.built(config, files, dtype)
        _fill_own(model.network, tensors, config.trained, str(folder))
        return model

    @classmethod
    def built(cls, config: WanModelConfig, files: WanFiles, dtype: torch.dtype = torch.float32) -> "WanWorldModel":
        """A model on loaded backbone weights, with fresh additions (which change nothing before they are trained)."""
        from diffusers import WanTransformer3DModel
        from diffusers.utils import logging

        logging.disable_progress_bar()
        transformer = load_part(WanTransformer3DModel, files, "transformer", dtype)
        encoder = Umt5TextEncoder(files, dtype)
        network = WanNetwork(config.network, transformer, files.noise_steps, encoder.features(""))
        if config.low_rank:
            add_low_rank(network.wan.blocks, config.low_rank)
        return cls(config, WanTokenizer.of(files, dtype), network, encoder)

    def remember(
        self, observations: Sequence[Observation], memory: AnyMemory | None = None, *, with_steps: bool = True
    ) -> Past:
        """See `WorldModel.remember`; says so when the backbone was never taught to drive."""
        past = super().remember(observations, memory, with_steps=with_steps)
        if self.config.stages:
            return past
        said = (
            f"the backbone '{self.config.backbone}' was not taught to drive: it obeys no actions, its motion, plans and "
            "explanations mean nothing, and chunk after chunk is new to it. Run `detour train chunk --preset wan-1.3b`."
        )
        return replace(past, warnings=tuple((*before, said) for before in past.warnings))

    def warped_view(self, past: Past, steps: Tensor) -> None:
        """None: Wan has no input for it."""

    @property
    def text_encoder(self) -> TextEncoder:
        """The backbone's own text encoder."""
        assert self._text_encoder is not None
        return self._text_encoder


def own_tensors(network: WanNetwork, trained: str) -> dict[str, Tensor]:
    """The network's tensors that are not the backbone's; all of them when every weight was trained."""
    return {
        name: tensor for name, tensor in network.state_dict().items() if trained == "all" or not is_frozen_name(name)
    }


def is_frozen_name(name: str) -> bool:
    """Whether a tensor of the network is one of the backbone's own."""
    return name.startswith("wan.") and not name.endswith((".down.weight", ".up.weight"))


def _fill_own(network: WanNetwork, tensors: dict[str, Tensor], trained: str, where: str) -> None:
    frozen: dict[str, Any] = (
        {} if trained == "all" else {n: t for n, t in network.state_dict().items() if is_frozen_name(n)}
    )
    own = {name.removeprefix("network."): tensor for name, tensor in tensors.items()}
    if clash := sorted(own.keys() & frozen.keys()):
        raise BadCheckpoint(
            f"'{where}' says trained '{trained}' but holds weights of the backbone itself ({clash[0]}, ...). Only what was "
            "added is needed. Use an unmodified checkpoint."
        )
    fill(network, {**frozen, **own}, where)
