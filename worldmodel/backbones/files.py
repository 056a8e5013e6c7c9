"""What diffusers leaves on disk for Wan: one folder per part, read and checked before any weight is.

FOLDER/model_index.json
       transformer/config.json, diffusion_pytorch_model*.safetensors (one file, or shards with an index)
       vae/config.json, diffusion_pytorch_model*.safetensors
       scheduler/scheduler_config.json
       text_encoder/..., tokenizer/...     (UMT5)
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.checkpoints import read_json
from worldmodel.errors import BadCheckpoint

PARTS = ("transformer", "vae", "scheduler", "text_encoder", "tokenizer")
TEMPORAL_STRIDE = 4
_HUB_PATTERNS = [
    "model_index.json",
    *(f"{part}/*{suffix}" for part in PARTS for suffix in (".json", ".safetensors", ".model")),
]
_SUPPORTED = "Text-to-video Wan 2.1 (1.3B, 14B) and text-image-to-video Wan 2.2 (5B) in diffusers' form are supported."
_SAMPLE_BYTES = 65536


@dataclass(frozen=True, eq=False, kw_only=True)
class WanFiles:
    """A checked folder.

    Attributes:
        root: The folder.
        transformer, vae, scheduler, text_encoder: The parts' configs.
    """

    root: Path
    transformer: dict[str, Any]
    vae: dict[str, Any]
    scheduler: dict[str, Any]
    text_encoder: dict[str, Any]

    @property
    def patch(self) -> int:
        """Latent cells per token and side."""
        return int(self.transformer["patch_size"][1])

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent cell and side."""
        halvings = len(self.vae["dim_mult"]) - 1
        return 2**halvings * int(self.vae.get("patch_size") or 1)

    @property
    def flow_shift(self) -> float:
        """How far sampling times are pushed towards noise."""
        return float(self.scheduler.get("flow_shift") or self.scheduler.get("shift") or 1.0)

    @property
    def noise_steps(self) -> int:
        """The timestep that Wan calls pure noise; our t = 1."""
        return int(self.scheduler.get("num_train_timesteps", 1000))

    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell one set of weights from another without reading all of it: sizes and samples."""
        digest = hashlib.sha256()
        for file in sorted(
            path for part in ("transformer", "vae") for path in (self.root / part).glob("*.safetensors")
        ):
            size = file.stat().st_size
            digest.update(f"{file.parent.name}/{file.name}\0{size}\0".encode())
            with file.open("rb") as stream:
                for place in (0, size // 3, size // 2, max(0, size - _SAMPLE_BYTES)):
                    stream.seek(place)
                    digest.update(stream.read(_SAMPLE_BYTES))
        return digest.hexdigest()[:16]


def find_wan(source: Path | str) -> WanFiles:
    """Find a Wan checkpoint, here or on the hub, and check that we can run it.

    Args:
        source: A folder in diffusers' form, or a hub id such as 'Wan-AI/Wan2.1-T2V-1.3B-Diffusers'.
    Raises:
        BadCheckpoint: it is missing, incomplete, or a model of another kind; the field is named.
    """
    root = Path(source) if Path(source).is_dir() else _download(str(source))
    files = WanFiles(
        root=root,
        transformer=read_json(root / "transformer" / "config.json"),
        vae=read_json(root / "vae" / "config.json"),
        scheduler=read_json(root / "scheduler" / "scheduler_config.json"),
        text_encoder=read_json(root / "text_encoder" / "config.json"),
    )
    index = read_json(root / "model_index.json")
    _check(root, "transformer", _transformer_problems(files.transformer) + _second_transformer(index))
    _check(root, "vae", _vae_problems(files.vae, files.transformer))
    _check(root, "scheduler", _scheduler_problems(files.scheduler))
    width, needed = files.text_encoder.get("d_model"), files.transformer.get("text_dim")
    _check(root, "text_encoder", [f"its d_model is {width}, the transformer reads {needed}"] if width != needed else [])
    return files


def _check(root: Path, part: str, problems: list[str]) -> None:
    if problems:
        raise BadCheckpoint(
            f"the {part} of '{root}' cannot be used: {'; '.join(problems)}. {_SUPPORTED} Name one of those."
        )


def _transformer_problems(config: dict[str, Any]) -> list[str]:
    patch = tuple(config.get("patch_size") or ())
    wrong = {
        f"its class is {config.get('_class_name')}": config.get("_class_name") != "WanTransformer3DModel",
        f"patch_size is {patch}, not (1, n, n)": len(patch) != 3 or patch[0] != 1 or patch[1] != patch[2],
        "it reads an image embedding (image-to-video)": bool(
            config.get("image_dim") or config.get("added_kv_proj_dim")
        ),
        f"it reads {config.get('in_channels')} channels and says {config.get('out_channels')}": (
            config.get("in_channels") != config.get("out_channels")
        ),
        f"qk_norm is {config.get('qk_norm')}": config.get("qk_norm") != "rms_norm_across_heads",
    }
    return [problem for problem, present in wrong.items() if present]


def _second_transformer(index: dict[str, Any]) -> list[str]:
    second = index.get("transformer_2")
    present = isinstance(second, list | tuple) and bool(second) and second[0] is not None
    return ["it has a second transformer for low noise (A14B)"] if present else []


def _vae_problems(config: dict[str, Any], transformer: dict[str, Any]) -> list[str]:
    channels, halvings = config.get("z_dim"), sum(map(bool, config.get("temperal_downsample") or ()))
    means, deviations = (tuple(config.get(f"latents_{name}") or ()) for name in ("mean", "std"))
    wrong = {
        f"its class is {config.get('_class_name')}": config.get("_class_name") != "AutoencoderKLWan",
        f"it makes one latent frame of {2**halvings} frames, not of {TEMPORAL_STRIDE}": 2**halvings != TEMPORAL_STRIDE,
        f"it has {channels} channels, the transformer reads {transformer.get('in_channels')}": (
            channels != transformer.get("in_channels")
        ),
        f"latents_mean and latents_std have {len(means)} and {len(deviations)} values for {channels} channels": (
            len(means) != channels or len(deviations) != channels
        ),
        "a value of latents_std is not positive": any(not value > 0 for value in deviations),
    }
    return [problem for problem, present in wrong.items() if present]


def _scheduler_problems(config: dict[str, Any]) -> list[str]:
    name = str(config.get("_class_name"))
    predicts = config.get("prediction_type", "flow_prediction")
    flows = name == "FlowMatchEulerDiscreteScheduler" or bool(config.get("use_flow_sigmas"))
    return [] if flows and predicts == "flow_prediction" else [f"{name} with prediction_type {predicts} is no flow"]


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_PATTERNS))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise BadCheckpoint(
            f"'{hub_id}' is neither a folder here nor a model we can get from the hub ({type(error).__name__}: {error}). "
            "A folder in diffusers' form or a hub id is needed, as in 'wan:Wan-AI/Wan2.1-T2V-1.3B-Diffusers'. "
            "Check the name and the connection, or copy the folder here."
        ) from error


def load_part(kind: Any, files: WanFiles, part: str, dtype: Any) -> Any:
    """One of diffusers' models, all of its weights read from safetensors, in evaluation mode.

    Raises:
        BadCheckpoint: a file is missing, a pickle or damaged, or tensors are missing, extra or of another shape.
    """
    from safetensors import SafetensorError

    try:
        model, found = kind.from_pretrained(
            str(files.root), subfolder=part, torch_dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadCheckpoint(
            f"the {part} of '{files.root}' cannot be loaded ({error}). Whole safetensors files are needed, never pickles. "
            "Download or copy the folder again."
        ) from error
    wrong = [
        f"{len(found[name])} {name.replace('_', ' ')} ({', '.join(map(str, list(found[name])[:4]))})"
        for name in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if found.get(name)
    ]
    wrong += [f"{name} is not finite" for name, value in model.named_parameters() if not bool(value.isfinite().all())][
        :4
    ]
    _check(files.root, part, wrong)
    return model.eval()
