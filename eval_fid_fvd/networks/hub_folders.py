"""Networks of the transformers library from a local folder: `config.json` and `model.safetensors`, nothing downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from eval_fid_fvd.networks.weight_files import file_sha256
from worldmodel.checkpoints import read_json
from worldmodel.errors import BadCheckpoint

CONFIG, TENSORS = "config.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class HubFolder:
    """A family of published folders.

    Attributes:
        what: What they are for, as messages call it.
        source: Where to get one.
        model_type: What `config.json` says.
        published: SHA-256 of `model.safetensors` -> the name it is printed with. Others are named by their hash.
    """

    what: str
    source: str
    model_type: str
    published: Mapping[str, str]

    def checked(self, folder: Path) -> tuple[str, str]:
        """The printed name and the hash of a folder's weights; the hash says so when it is not a published one.

        Raises:
            BadCheckpoint: if the folder is not there, incomplete, or of another family.
        """
        missing = [name for name in (CONFIG, TENSORS) if not (folder / name).is_file()]
        if missing:
            raise BadCheckpoint(
                f"'{folder}' lacks {' and '.join(missing)}; {self.what} is read from a folder with {CONFIG} and {TENSORS}. "
                f"Download {self.source} into a folder and pass it with --weights FOLDER, or leave it out: the built-in "
                "network needs no file."
            )
        if (got := folder_type(folder)) != self.model_type:
            raise BadCheckpoint(
                f"'{folder}' holds a '{got}', but {self.what} is a '{self.model_type}'. Get {self.source}."
            )
        sha256 = file_sha256(folder / TENSORS)
        if sha256 in self.published:
            return self.published[sha256], sha256
        return f"{self.model_type}-{sha256[:8]}", f"{sha256} (not pinned)"

    def load(self, kind: Any, folder: Path) -> Any:
        """The folder's network as a transformers class, float32, in evaluation mode.

        Raises:
            BadCheckpoint: if the tensors cannot be read, or some are missing or of another shape.
        """
        try:
            model, found = kind.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise BadCheckpoint(
                f"'{folder}' cannot be read as {self.what}: {error}. Copy the files again from {self.source}."
            ) from error
        if lost := [*found["missing_keys"], *map(str, found["mismatched_keys"])]:
            raise BadCheckpoint(
                f"'{folder}' does not fit: {len(lost)} tensors are missing or of another shape, such as {sorted(lost)[0]}. "
                f"Get {self.source}."
            )
        return model.eval().requires_grad_(False)


def folder_type(folder: Path) -> str:
    """What a folder's `config.json` says it holds."""
    return str(read_json(folder / CONFIG).get("model_type", "unknown"))
