"""The formulas of `detour bench scores`: Fréchet, kernel, coverage and picture scores on random inputs, ours and theirs.

Features fall off in variance from 1 to 1e-3 like those of real networks, and the two sides differ a little. A library that is
not installed leaves its row with a word and no number.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from studio.bench_scores import Compared, ScoresBench, library, timed

Array = np.ndarray
MISSING = "not installed"
SUBSET, COVERAGE_SAMPLES, NEIGHBOURS = 1000, 2000, 3
PICTURE = (256, 448)  # height and width
LPIPS_LAYERS = ((64, 31, 55), (192, 15, 27), (384, 7, 13), (256, 7, 13), (256, 7, 13))  # AlexNet's on such a picture


def frechet_rows(request: ScoresBench) -> list[Compared]:
    """The Fréchet distance, for few samples (singular covariances) and for many."""
    from eval_fid_fvd.frechet import frechet_distance

    rows = []
    for count, need in ((request.few, 100.0), (request.many, 2.0)):
        a, b = features(request.width, count)
        seconds, value = timed(partial(frechet_distance, a, b), request)
        scale = float(((a.mean(0) - b.mean(0)) ** 2).sum() + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum())
        apart = partial(_apart, value, scale)
        for peer, compute in _frechet_peers().items():
            row = Compared(
                part="Fréchet distance",
                what=f"{request.width} features, {count} samples",
                seconds=seconds,
                peer=peer,
                scale="of |dm|²+trS+trS",
                need=need if peer.startswith("scipy") else None,
            )
            rows.append(_compared(row, compute and partial(compute, a, b), apart, request))
    return rows


def kernel_rows(request: ScoresBench) -> list[Compared]:
    """KID over the very subsets that torch-fidelity draws."""
    from eval_fid_fvd.kernel import polynomial_mmd_subsets

    a, b = features(request.width, request.many)
    size = min(SUBSET, request.many)
    draw = np.random.RandomState(2020)  # torch-fidelity's generator
    drawn = [(draw.choice(len(a), size, False), draw.choice(len(b), size, False)) for _ in range(request.subsets)]
    chosen_a, chosen_b = (np.stack(side) for side in zip(*drawn, strict=True))
    seconds, (mean, _) = timed(lambda: polynomial_mmd_subsets(a, b, chosen_a, chosen_b), request)
    kid = library("torch_fidelity.metric_kid")

    def theirs() -> float:
        import torch

        wanted = {"kid_subsets": request.subsets, "kid_subset_size": size, "rng_seed": 2020, "verbose": False}
        found = kid.kid_features_to_metric(torch.from_numpy(a), torch.from_numpy(b), **wanted)
        return float(found["kernel_inception_distance_mean"])

    row = Compared(
        part="KID",
        what=f"{request.width} features, {request.subsets} subsets of {size}",
        seconds=seconds,
        peer="torch-fidelity",
        scale="of KID",
    )
    return [_compared(row, theirs if kid else None, partial(_apart, mean, abs(mean)), request)]


def coverage_rows(request: ScoresBench) -> list[Compared]:
    """Precision and recall; density and coverage have no installed peer."""
    from eval_fid_fvd.coverage import density_coverage, precision_recall

    real, fake = features(request.width, min(COVERAGE_SAMPLES, request.many))
    seconds, ours = timed(lambda: precision_recall(real, fake, NEIGHBOURS), request)
    both, _ = timed(lambda: density_coverage(real, fake, NEIGHBOURS), request)
    prc = library("torch_fidelity.metric_prc")

    def theirs() -> tuple[float, float]:
        import torch

        return prc.calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real), NEIGHBOURS)

    size = f"{request.width} features, {len(real)} samples"

    def apart(two: tuple[float, float]) -> float:
        return max(abs(x - y) for x, y in zip(two, ours.values(), strict=True))

    row = Compared(part="coverage", what=f"precision, recall; {size}", seconds=seconds, peer="torch-fidelity")
    return [
        _compared(row, theirs if prc else None, apart, request),
        Compared(part="coverage", what=f"density, coverage; {size}", seconds=both, peer="no library here"),
    ]


def picture_rows(request: ScoresBench) -> list[Compared]:
    """SSIM and PSNR of one picture, and LPIPS's head on AlexNet's layers of one."""
    from eval_fid_fvd.images import psnr, ssim

    draw = np.random.default_rng(0)
    a = draw.random((*PICTURE, 3))
    b = np.clip(a + draw.normal(size=a.shape) * 0.1, 0, 1)
    metrics = library("skimage.metrics")
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs: dict[str, Callable[[], float]] = {
        "SSIM": lambda: metrics.structural_similarity(a, b, data_range=1, channel_axis=2, **gaussian),
        "PSNR": lambda: metrics.peak_signal_noise_ratio(a, b, data_range=1),
    }
    rows = []
    for name, ours in {"SSIM": ssim, "PSNR": psnr}.items():
        seconds, value = timed(partial(ours, a, b), request)
        what = f"{name}, {PICTURE[1]}x{PICTURE[0]}"
        row = Compared(part="pictures", what=what, seconds=seconds, peer="scikit-image")
        rows.append(_compared(row, theirs[name] if metrics else None, partial(_apart, value, 1.0), request))
    return [*rows, _lpips_row(request)]


def _lpips_row(request: ScoresBench) -> Compared:
    from eval_fid_fvd.perceptual import lpips_head

    draw = np.random.default_rng(1)
    a, b = ([draw.random((1, *shape)) for shape in LPIPS_LAYERS] for _ in range(2))
    weights = [draw.random(shape[0]) for shape in LPIPS_LAYERS]
    seconds, value = timed(lambda: lpips_head(a, b, weights), request)
    lpips = library("lpips")

    def theirs() -> float:
        import torch

        total = 0.0
        for x, y, w in zip(a, b, weights, strict=True):
            x, y = (lpips.normalize_tensor(torch.from_numpy(side)) for side in (x, y))
            weighted = ((x - y) ** 2 * torch.from_numpy(w).view(1, -1, 1, 1)).sum(dim=1, keepdim=True)
            total += float(lpips.spatial_average(weighted))
        return total

    row = Compared(part="pictures", what="LPIPS head, AlexNet's layers", seconds=seconds, peer="lpips")
    return _compared(row, theirs if lpips else None, partial(_apart, float(value[0]), 1.0), request)


FORMULAS: dict[str, Callable[[ScoresBench], list[Compared]]] = {
    "Fréchet distance": frechet_rows,
    "KID": kernel_rows,
    "coverage": coverage_rows,
    "pictures": picture_rows,
}


def features(width: int, count: int) -> tuple[Array, Array]:
    """Two sets of random features [count, width]."""
    draw = np.random.default_rng(0)
    deviations = np.sqrt(np.logspace(0, -3, width))
    a, b = (draw.normal(size=(count, width)) * deviations for _ in range(2))
    return a, 1.05 * b + 0.02


def _compared(
    row: Compared, theirs: Callable[[], Any] | None, apart: Callable[[Any], float], request: ScoresBench
) -> Compared:
    """The row with a library's time and how far its value is apart, or with a word that it is not installed."""
    if not theirs:
        return replace(row, note=MISSING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about themselves
        seconds, value = timed(theirs, request)
    return replace(row, peer_seconds=seconds, difference=apart(value))


def _apart(ours: float, scale: float, theirs: float) -> float:
    return abs(float(theirs) - ours) / scale


def _frechet_peers() -> dict[str, Callable[[Array, Array], float] | None]:
    fidelity, metrics = library("torch_fidelity.metric_fid"), library("torchmetrics.image.fid")

    def with_sqrtm(a: Array, b: Array) -> float:
        from scipy import linalg

        covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        shift, root = a.mean(axis=0) - b.mean(axis=0), linalg.sqrtm(covariance_a @ covariance_b)
        return float(shift @ shift + np.trace(covariance_a) + np.trace(covariance_b) - 2 * np.trace(root.real))

    def with_torch_fidelity(a: Array, b: Array) -> float:
        import torch

        both = (fidelity.fid_features_to_statistics(torch.from_numpy(side)) for side in (a, b))
        return float(fidelity.fid_statistics_to_metric(*both, False)["frechet_inception_distance"])

    def with_torchmetrics(a: Array, b: Array) -> float:
        import torch

        x, y = torch.from_numpy(a), torch.from_numpy(b)
        return float(metrics._compute_fid(x.mean(dim=0), torch.cov(x.T), y.mean(dim=0), torch.cov(y.T)))

    return {
        "scipy sqrtm (pytorch-fid, clean-fid)": with_sqrtm,
        "torch-fidelity": with_torch_fidelity if fidelity else None,
        "torchmetrics": with_torchmetrics if metrics else None,
    }
