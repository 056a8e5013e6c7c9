"""What the lists of the Scores page offer, and links that keep to it."""

from collections.abc import Sequence

from studio.live.scores.wishes import ScoreWish
from studio.web.links import Link
from worldmodel.errors import UnknownName

METRICS = {
    "PSNR · pairs of frames": "psnr",
    "SSIM · pairs of frames": "ssim",
    "FID / FD · pictures": "fid",
    "FVD · clips": "fvd",
    "KID / KD · pictures": "kid",
    "KVD · clips": "kvd",
    "FID at endless samples": "fid_inf",
    "FVD at endless samples": "fvd_inf",
    "Precision": "precision",
    "Recall": "recall",
    "Density": "density",
    "Coverage": "coverage",
    "LPIPS · needs weights": "lpips",
}
PRESETS = ("vista", "epona", "magicdrive-v2", "opendwm")  # of eval_fid_fvd.presets, which is heavy to import


def linked_wish(link: Link) -> ScoreWish:
    """What a link asks for, if the page's lists offer it.

    Raises:
        BadRequest, UnknownName: for a value that is not understood.
    """
    wish = ScoreWish.of(link)
    for name in wish.metrics:
        _check_name("metric", name, tuple(METRICS.values()))
    _check_name("preset", wish.preset, ("", *PRESETS))
    return wish


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UnknownName(what, name[:60], known)
