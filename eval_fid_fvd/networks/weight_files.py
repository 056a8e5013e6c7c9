"""Files of published weights: which file it must be, where it comes from, and what another file is if we know it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from worldmodel.errors import BadCheckpoint

Module = TypeVar("Module", bound=nn.Module)

# files that people mistake for a feature network, by git blob
KNOWN_OTHERS = {
    "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a": "rgb_imagenet.pt, an I3D that began from ImageNet: another network, its "
    "numbers are not comparable with FVD",
    "a867b87ac3a9097d200598b1d48a1b890d8ec744": "i3d_pretrained_400.pt, FVD's network as a bare state dict; the "
    "TorchScript file is the one that is read here",
    "fa7df95674dbf3579e7fccd954e51e706b4734c1": "TensorFlow's own checkpoint of FVD's network (rgb_scratch), which "
    "cannot be read here",
}


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """One published file.

    Attributes:
        what: What it is for, as messages call it.
        source: Where to get it.
        kind: Which hash is pinned: 'sha256', or git's id of the content.
        digest: The whole hash, as public sources give it.
    """

    what: str
    source: str
    kind: Literal["sha256", "git blob"]
    digest: str

    def hash_of(self, path: Path) -> str:
        """The whole hash of a file, of the kind that is pinned."""
        return file_sha256(path) if self.kind == "sha256" else git_blob_hash(path)

    def checked(self, path: Path) -> str:
        """The whole hash of a file that is this one.

        Raises:
            BadCheckpoint: if the file is missing or another one; its hash is shown, and what it is if that is known.
        """
        require_file(path, self.what, self.source)
        got = self.hash_of(path)
        if got != self.digest:
            raise BadCheckpoint(
                f"'{path}' is another file{what_it_is(path)}: its {self.kind} is {got}, but that of {self.what} is "
                f"{self.digest}. Get {self.source}."
            )
        return got

    def state(self, path: Path) -> dict[str, Tensor]:
        """The tensors of a file that was checked, read without running any code in it."""
        return dict(torch.load(path, map_location="cpu", weights_only=True))

    def filled(self, architecture: Callable[[], Module], path: Path) -> Module:
        """An architecture with the tensors of a file that was checked, in evaluation mode; none are drawn at random before.

        Raises:
            BadCheckpoint: if they do not fit.
        """
        with torch.device("meta"):
            network = architecture()
        try:
            network.load_state_dict(self.state(path), assign=True)
        except RuntimeError as error:
            raise BadCheckpoint(f"the weights of {self.what} do not fit: {error}. Get {self.source}.") from error
        return network.eval().requires_grad_(False)


def require_file(path: Path, what: str, source: str) -> None:
    """Say where to get a file that is not there.

    Raises:
        BadCheckpoint: if it is no file.
    """
    if not path.is_file():
        raise BadCheckpoint(
            f"'{path}' is not there; it should hold the weights of {what}. Download {source} and pass its path with "
            "--weights FILE, or leave it out: the built-in network needs no file."
        )


def what_it_is(path: Path) -> str:
    """What a wrong file is, as ' (...)', or nothing when it is not known."""
    known = KNOWN_OTHERS.get(git_blob_hash(path))
    return f" ({known})" if known else ""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_hash(path: Path) -> str:
    """Git's id of a file's content, hexadecimal: SHA-1 over 'blob <size>' and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
