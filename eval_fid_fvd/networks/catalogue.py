"""All feature networks with published weights by name, and the choice among them by the hash of a file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from eval_fid_fvd.networks import i3d, inception
from eval_fid_fvd.networks.weight_files import WeightsFile, file_sha256, git_blob_hash, require_file, what_it_is
from worldmodel.errors import BadCheckpoint


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network with published weights.

    Attributes:
        kind: What it takes, a field of `FeatureNetworks`.
        file: The file its weights are in.
        load: Reads that file: (path, device=...) -> FeatureNetwork.
    """

    kind: Literal["pictures", "clips"]
    file: WeightsFile
    load: Callable[..., FeatureNetwork]


NETWORKS = {
    "inception-2015": Published(kind="pictures", file=inception.WEIGHTS, load=inception.inception_2015),
    "i3d-k400": Published(kind="clips", file=i3d.WEIGHTS, load=i3d.i3d_k400),
}


def choose_networks(
    weights: Iterable[Path], spare: FeatureNetworks | None = None, *, device: torch.device | str = "cpu"
) -> FeatureNetworks:
    """The networks to score with: published ones where their files are given, otherwise the spare ones.

    Args:
        weights: Files of published weights, told apart by their hash, not by their name.
        spare: Stands in for what no file was given for; None leaves it out.
    Raises:
        BadCheckpoint: if a file is missing or is none of the known ones; its hashes are shown.
    """
    chosen = spare or FeatureNetworks()
    for path in weights:
        known = NETWORKS[recognised(path)]
        network = known.load(path, device=device)
        chosen = replace(chosen, pictures=network) if known.kind == "pictures" else replace(chosen, clips=network)
    return chosen


def recognised(path: Path) -> str:
    """The name of the network a file belongs to, found by its hash.

    Raises:
        BadCheckpoint: if the file is missing or unknown.
    """
    require_file(
        path, "a feature network", "; ".join(f"{known.file.source} ({name})" for name, known in NETWORKS.items())
    )
    hashes = {"sha256": file_sha256(path), "git blob": git_blob_hash(path)}
    for name, known in NETWORKS.items():
        if hashes[known.file.kind].startswith(known.file.digits):
            return name
    raise BadCheckpoint(
        f"'{path}' is no known feature network{what_it_is(path)}: its sha256 is {hashes['sha256']}, its git blob "
        f"{hashes['git blob']}. Known: {'; '.join(f'{name} from {known.file.source}' for name, known in NETWORKS.items())}. "
        "Get one of these, or leave --weights out."
    )
