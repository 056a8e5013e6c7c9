"""The extraction part of `detour bench scores`: decode, resize and network, ours and torch-fidelity's loop on the same files.

Both read the same mp4 files with the same reader and compute FID's Inception with the same random weights (how long it takes
does not depend on them). torch-fidelity's loop is given its best case: its data loader's batches are whole clips, so that none
of its worker processes decodes a clip twice. Each side runs in a fresh process, warmed up on the first clip; its peak
memory is that of the process (torch-fidelity's workers come on top).
"""

import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from studio.bench_scores import CLOCKS, Compared, ScoresBench, library, limited_threads

if TYPE_CHECKING:
    from eval_fid_fvd.features import FeatureNetworks

Array = np.ndarray
HEIGHT_PX, WIDTH_PX, FREQUENCY_HZ = 128, 224, 8.0
NETWORK_SEED = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Extracted:
    """What one side took and found.

    Attributes:
        seconds: From the first file to the last feature.
        peak_mib: Of the process, since it was started.
        mean: Mean feature over all frames, [2048].
    """

    seconds: float
    peak_mib: float
    mean: Array


def extraction_rows(request: ScoresBench) -> list[Compared]:
    """Both loops over the same files; no rows if no clips are asked for."""
    if not request.clips:
        return []
    peer = "torch-fidelity's loop"
    what = f"{request.clips} mp4s of {request.frames} frames {WIDTH_PX}x{HEIGHT_PX}, Inception"
    with tempfile.TemporaryDirectory(prefix="detour-bench-") as name:
        folder = Path(name)
        _write_files(folder, request.clips, request.frames)
        rounds = [_both(folder, request) for _ in range(request.repeats)]
    ours, theirs = ([side for side in sides if side is not None] for sides in zip(*rounds, strict=True))
    row = Compared(part="extraction", what=what, seconds=_median(ours), peer=peer, note="not installed")
    if not theirs:
        return [row]
    apart = float(np.abs(ours[0].mean - theirs[0].mean).max() / np.abs(theirs[0].mean).max())
    return [
        Compared(
            part="extraction",
            what=what,
            seconds=_median(ours),
            peer=peer,
            peer_seconds=_median(theirs),
            difference=apart,
            scale="of the largest mean",
            need=1.0,
            note=f"peak {ours[0].peak_mib:.0f} MiB, theirs {theirs[0].peak_mib:.0f} and workers",
        )
    ]


def extract_ours(folder: Path, request: ScoresBench) -> Extracted:
    """Our extraction, its features kept as streamed statistics."""
    from eval_fid_fvd.extraction import extracted
    from eval_fid_fvd.frechet import FeatureStats
    from eval_fid_fvd.results import Unreadable
    from eval_fid_fvd.sources import VideoFiles
    from studio.bench_pasts import peak_mib

    source = VideoFiles("the benchmark's folder", {path.stem: {"front": path} for path in _files(folder)})
    networks, clock = _network(folder), CLOCKS[request.clock]
    with limited_threads(request.threads):
        list(extracted([source], networks, names=source.names[:1]))
        started, stats = clock(), FeatureStats.empty(2048)
        for clip in extracted([source], networks, names=source.names):
            assert not isinstance(clip, Unreadable), clip
            stats = stats + FeatureStats.of(clip.pictures[0])
        return Extracted(seconds=clock() - started, peak_mib=peak_mib(), mean=stats.mean)


def extract_with_torch_fidelity(folder: Path, request: ScoresBench) -> Extracted:
    """torch-fidelity's own loop and its own Inception; statistics as it takes them."""
    import warnings

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.metric_fid import fid_features_to_statistics
    from torch_fidelity.utils import get_featuresdict_from_dataset

    from studio.bench_frames import VideoFrames
    from studio.bench_pasts import peak_mib

    clock, weights = CLOCKS[request.clock], str(folder / "weights.pth")
    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=weights).eval()
    options = {"batch_size": request.frames, "cuda": False, "save_cpu_ram": False, "verbose": False}
    with limited_threads(request.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its data loader about the number of workers
        get_featuresdict_from_dataset(VideoFrames(_files(folder)[:1], request.frames), network, **options)
        started = clock()
        found = get_featuresdict_from_dataset(VideoFrames(_files(folder), request.frames), network, **options)
        mean = fid_features_to_statistics(found["2048"])["mu"]
        return Extracted(seconds=clock() - started, peak_mib=peak_mib(), mean=mean)


def _both(folder: Path, request: ScoresBench) -> tuple[Extracted, Extracted | None]:
    sides = [partial(extract_ours, folder, request)]
    if library("torch_fidelity") is not None:
        sides.append(partial(extract_with_torch_fidelity, folder, request))
    found = [_in_fresh_process(side) for side in sides]
    return found[0], found[1] if len(found) > 1 else None


def _in_fresh_process(work: "partial[Extracted]") -> Extracted:
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work).result()


def _median(found: list[Extracted]) -> float:
    return statistics.median(side.seconds for side in found)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mp4"))


def _write_files(folder: Path, clips: int, frames: int) -> None:
    """Moving smooth pictures, and the random weights of Inception in the layout of the published file."""
    import torch
    from torchvision.models.inception import Inception3

    from worldmodel.io.video import write_video

    draw = np.random.default_rng(0)
    for clip in range(clips):
        coarse = draw.integers(0, 256, (3, HEIGHT_PX // 16, WIDTH_PX // 16)).repeat(16, axis=1).repeat(16, axis=2)
        video = np.stack([np.roll(coarse, 3 * t, axis=2) for t in range(frames)]).astype(np.uint8)
        write_video(folder / f"clip-{clip:05d}.mp4", video, FREQUENCY_HZ)
    generator = torch.Generator().manual_seed(NETWORK_SEED)
    state = Inception3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    for value in state.values():
        if value.ndim >= 2:  # so that activations stay lively through all blocks
            value.copy_(torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5)
    torch.save(state, folder / "weights.pth")


def _network(folder: Path) -> "FeatureNetworks":
    import torch

    from eval_fid_fvd.features import FeatureNetworks
    from eval_fid_fvd.networks.inception import inception_features

    state = torch.load(folder / "weights.pth", weights_only=True)
    return FeatureNetworks(pictures=inception_features(state, name="inception-random", file_hash="none"))
