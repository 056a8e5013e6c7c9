"""All feature networks with published weights by name, and the choice among them by the hash of a file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from eval_fid_fvd import perceptual
from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks, PairNetwork
from eval_fid_fvd.networks import dinov2, i3d, inception, r3d, videomae
from eval_fid_fvd.networks.hub_folders import CONFIG, HubFolder, folder_type
from eval_fid_fvd.networks.weight_files import WeightsFile, file_sha256, git_blob_hash, require_file, what_it_is
from worldmodel.errors import BadCheckpoint, BadRequest


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network with published weights.

    Attributes:
        kind: What it takes, a field of `FeatureNetworks`.
        file: The file its weights are in, or the family of folders.
        load: Reads that: (path, device=...) -> FeatureNetwork or PairNetwork.
    """

    kind: Literal["pictures", "clips", "pairs"]
    file: WeightsFile | HubFolder
    load: Callable[..., FeatureNetwork | PairNetwork]


NETWORKS = {
    "inception-2015": Published(kind="pictures", file=inception.WEIGHTS, load=inception.inception_2015),
    "dinov2": Published(kind="pictures", file=dinov2.FOLDER, load=dinov2.dinov2),
    "i3d-k400": Published(kind="clips", file=i3d.WEIGHTS, load=i3d.i3d_k400),
    "videomae-v2-g-ssv2": Published(kind="clips", file=videomae.GIANT, load=videomae.videomae_v2_g),
    "videomae": Published(kind="clips", file=videomae.FOLDER, load=videomae.videomae),
    "r2p1d-18-k400": Published(kind="clips", file=r3d.R2P1D, load=r3d.r2p1d_18),
    "r3d-18-k400": Published(kind="clips", file=r3d.R3D, load=r3d.r3d_18),
    "alex-v0.1": Published(kind="pairs", file=perceptual.ALEXNET, load=perceptual.lpips_alex),
    "vgg-v0.1": Published(kind="pairs", file=perceptual.VGG16, load=perceptual.lpips_vgg),
}


def choose_networks(
    weights: Iterable[Path], spare: FeatureNetworks | None = None, *, device: torch.device | str = "cpu"
) -> FeatureNetworks:
    """The networks to score with: published ones where their files are given, otherwise the spare ones.

    Args:
        weights: Files of published weights, told apart by their hash, not by their name; folders of the transformers
            library by their `config.json`.
        spare: Stands in for what no file was given for; None leaves it out.
    Raises:
        BadCheckpoint: if a file is missing or is none of the known ones; its hashes are shown.
        BadRequest: for two files of one kind.
    """
    given: dict[str, Any] = {}
    for path in weights:
        known = NETWORKS[recognised(path)]
        if known.kind in given:
            raise BadRequest(
                f"'{path}' is a second network of {known.kind}; one of each kind makes a score. Score once per network."
            )
        given[known.kind] = known.load(path, device=device)
    return replace(spare or FeatureNetworks(), **given)


def recognised(path: Path) -> str:
    """The name of the network a file belongs to, found by its hash; of a folder, by its `config.json`.

    Raises:
        BadCheckpoint: if the path is missing or unknown.
    """
    return _folder_network(path) if path.is_dir() else _file_network(path)


def _file_network(path: Path) -> str:
    require_file(path, "a feature network", _sources())
    hashes = {"sha256": file_sha256(path), "git blob": git_blob_hash(path)}
    for name, known in NETWORKS.items():
        if isinstance(known.file, WeightsFile) and hashes[known.file.kind] == known.file.digest:
            return name
    raise BadCheckpoint(
        f"'{path}' is no known feature network{what_it_is(path)}: its sha256 is {hashes['sha256']}, its git blob "
        f"{hashes['git blob']}. Known: {_sources()}. Get one of these, or leave --weights out."
    )


def _folder_network(folder: Path) -> str:
    found = folder_type(folder) if (folder / CONFIG).is_file() else f"folder without {CONFIG}"
    for name, known in NETWORKS.items():
        if isinstance(known.file, HubFolder) and known.file.model_type == found:
            return name
    raise BadCheckpoint(
        f"'{folder}' is no known feature network but a '{found}'. Known: {_sources()}. Get one of these, or leave "
        "--weights out."
    )


def _sources() -> str:
    return "; ".join(f"{name} from {known.file.source}" for name, known in NETWORKS.items())
