"""The scores between two sets of clips, by name: what each one needs, and what its formula does where libraries differ."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from eval_fid_fvd.images import PSNR_CAP_DB
from worldmodel.errors import BadRequest, UnknownName

FRECHET = "squared Frechet distance"
ENDLESS = "squared Frechet distance, line in 1/N through n, n/2, n/3, n/4, at 1/N = 0"
KERNEL = "unbiased MMD^2, (x.y/d + 1)^3, not times 1000"
UNBIASED = "N - 1, float64"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One score by name.

    Attributes:
        name: As asked for, such as 'fid'.
        of: What its samples are: 'pictures' or 'clips' (through a feature network of these), or 'pairs' of pictures.
        rule: What the formula does where implementations differ.
        covariance: How covariances are taken, or 'none'.
    """

    name: str
    of: Literal["pictures", "clips", "pairs"]
    rule: str
    covariance: str = "none"


def _neighbours(name: str, source: str, k: int) -> Metric:
    return Metric(name=name, of="pictures", rule=f"{source}, balls of the {k} nearest neighbours, closed, float64")


ALL = (
    Metric(name="fid", of="pictures", rule=FRECHET, covariance=UNBIASED),
    Metric(name="kid", of="pictures", rule=KERNEL),
    Metric(name="fvd", of="clips", rule=FRECHET, covariance=UNBIASED),
    Metric(name="kvd", of="clips", rule=KERNEL),
    Metric(name="fid_inf", of="pictures", rule=ENDLESS, covariance=UNBIASED),
    Metric(name="fvd_inf", of="clips", rule=ENDLESS, covariance=UNBIASED),
    _neighbours("precision", "Kynkaanniemi 2019", 3),
    _neighbours("recall", "Kynkaanniemi 2019", 3),
    _neighbours("density", "Naeem 2020", 5),
    _neighbours("coverage", "Naeem 2020", 5),
    Metric(name="psnr", of="pairs", rule=f"mean over frames of dB, identical frames count {PSNR_CAP_DB:g}"),
    Metric(name="ssim", of="pairs", rule="Gaussian 11, sigma 1.5, population covariance, valid region, RGB mean"),
    Metric(name="lpips", of="pairs", rule="v0.1, spatial mean, sum over layers; norm eps 1e-10"),
)
METRICS = {metric.name: metric for metric in ALL}
FRECHET_METRICS, KERNEL_METRICS = ("fid", "fvd"), ("kid", "kvd")
ENDLESS_METRICS = ("fid_inf", "fvd_inf")
SHARE_METRICS = ("precision", "recall", "density", "coverage")


def metrics_of(names: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of these names.

    Raises:
        BadRequest: for no name, or one given twice.
        UnknownName: for one that does not exist; the closest is offered.
    """
    wanted = list(names)
    if not wanted or len(set(wanted)) != len(wanted):
        raise BadRequest(f"metrics are {wanted}; name at least one, each once. Known: {', '.join(METRICS)}.")
    for name in wanted:
        if name not in METRICS:
            raise UnknownName("metric", name, METRICS)
    return tuple(METRICS[name] for name in wanted)


def uses(names: Iterable[str], of: str) -> bool:
    """Whether any of these metrics is made of 'pictures', 'clips' or 'pairs'."""
    return any(METRICS[name].of == of for name in names)
