"""Results of a visit, kept as files so that later ones can be put beside them."""

from pathlib import Path
from typing import TYPE_CHECKING

from studio.live.scores.wishes import ScoreWish

if TYPE_CHECKING:
    from eval_fid_fvd.results import Scores

KEPT = "scores"  # their folder in the visitor's folder


def keep(scores: "Scores", wish: ScoreWish, folder: Path) -> Path:
    """Write scores.json into a folder of its own, so that later results can be put beside it."""
    number = 1 + sum(1 for _ in folder.glob("*")) if folder.is_dir() else 1
    sides = " against ".join(Path(side).name for side in (wish.a, wish.b) if side)
    name = "".join(letter if letter.isalnum() or letter in " -_." else "-" for letter in f"{number} {sides}")
    path = folder / name[:80].strip() / "scores.json"
    path.parent.mkdir(parents=True)
    scores.write(path)
    return path


def earlier_results(folder: Path) -> list[str]:
    """Names of what `keep` wrote, the newest first."""
    found = sorted(folder.glob("*/scores.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name for path in found]
