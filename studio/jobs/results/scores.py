"""`detour jobs score`: a whole batch against what followed in its recordings, with metric cards, in all and by sweep value.

The same formulas, networks and cards as `detour score`. A unit that cannot be compared is listed with its reason and left out;
it is never a zero.
"""

import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.jobs.exports.finished import Finished, FinishedUnits
from studio.jobs.exports.selection import ALL, Selection
from studio.jobs.plan.comparisons import LeftOut
from studio.jobs.results.score_groups import GroupScores, scored
from studio.jobs.results.score_sides import Compared, Recordings
from studio.jobs.unit_words import BY
from studio.runs import NOTICE
from studio.scoring import DEFAULT_METRICS, TOWN, ScoreRequest
from worldmodel.errors import BadInput, BadRequest, UnknownName

if TYPE_CHECKING:
    from studio.jobs.folder.batch_folder import BatchFolder

FILE = "scores.json"
MOST_LINES = 10  # of units that are left out


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchScores:
    """Scores of a batch.

    Attributes:
        batch: Its digest.
        groups: All units first, then by value.
        left_out: Units that are in no score.
    """

    batch: str
    groups: tuple[GroupScores, ...]
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; the content of scores.json."""
        return {
            "format": 1,
            "batch": self.batch,
            "notice": NOTICE,
            "groups": [group.to_json() for group in self.groups],
            "left_out": [asdict(one) for one in self.left_out],
        }

    def lines(self) -> list[str]:
        """For people."""
        lines = [line for group in self.groups for line in group.lines()]
        lines += [f"left out: unit {one.number} ({one.key[:12]}): {one.why}" for one in self.left_out[:MOST_LINES]]
        more = len(self.left_out) - MOST_LINES
        return lines + ([f"... and {more} more; see {FILE}"] if more > 0 else [])


def score_batch(
    out: str,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    features: str = TOWN,
    weights: Sequence[Path] = (),
    by: str = "",
    selection: Selection = ALL,
    cache: Path | None = None,
    options: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    device: str = "cpu",
    on_clip: Callable[[int, int], None] = lambda *_: None,
) -> BatchScores:
    """Score a batch against what followed in its recordings; written to OUT/scores.json and its index.

    Units with an edit are compared only where `by` names 'edit': recordings do not show what was put in. Futures are compared
    over the shortest horizon of those that are scored, in groups by 'seconds' over their own.

    Args:
        out: Folder or address of the batch.
        metrics: As of `detour score`.
        features: What stands in for published networks: 'town', 'tokenizer' or a folder.
        weights: Files of published networks.
        by: Names out of `studio.jobs.unit_words.BY` with commas between: also scores of each of their values.
        selection: Which units.
        cache: Where recordings from elsewhere are kept.
        options: Of the storage that `out` lies in.
        seconds: Compare only the first seconds of each future; None for the shortest horizon.
        device: Where feature networks run.
        on_clip: Called with the clips done and their number.
    Raises:
        UnknownName: for a metric or a name in `by` that does not exist.
        BadDataset: if no unit can be compared, or units have unlike cameras or rates.
    """
    from eval_fid_fvd.metrics import metrics_of
    from studio.jobs.folder.batch_folder import BatchFolder
    from studio.jobs.results.index import write_index

    metrics_of(tuple(metrics))
    folder, sweeps = BatchFolder.open(out, options), sweeps_of(by)
    pairs, left_out = _compared(
        folder, selection, Recordings(partial(_local, out, cache, options)), edited="edit" in sweeps
    )
    request = ScoreRequest(
        a=out,
        metrics=tuple(metrics),
        weights=tuple(weights),
        features=features,
        model=folder.batch.setup.model,
        device=device,
    )
    groups, unread = scored(pairs, sweeps, request, seconds=seconds, on_clip=on_clip)
    everyone = sorted((*left_out, *unread), key=lambda one: one.number)
    found = BatchScores(batch=folder.batch.digest, groups=groups, left_out=tuple(everyone))
    folder.storage.write(FILE, (json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n").encode())
    write_index(folder)
    return found


def _local(out: str, cache: Path | None, options: Mapping[str, Any] | None, dataset: str) -> Path:
    """The folder of a dataset; what lies elsewhere is fetched."""
    from studio.jobs.plan.clips import fetched, options_for

    return fetched(dataset, cache, options_for(dataset, out, options))


def sweeps_of(by: str) -> tuple[str, ...]:
    """What scores are also given by.

    Raises:
        UnknownName: for a name that is none of `studio.jobs.unit_words.BY`.
    """
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    for name in names:
        if name not in BY:
            raise UnknownName("value to score by", name, BY)
    return names


def _compared(
    folder: "BatchFolder", selection: Selection, recordings: Recordings, *, edited: bool
) -> tuple[list[Compared], list[LeftOut]]:
    """Finished units with what followed, and the others with a reason."""
    pairs, left_out, seen = list[Compared](), list[LeftOut](), set[str]()
    for unit in FinishedUnits(store=folder.storage, units=folder.batch.units, selection=selection):
        seen.add(unit.key)
        try:
            _check_comparable(unit, edited=edited)
            pairs.append(Compared(unit=unit, followed=recordings.after(unit)))
        except BadInput as error:
            left_out.append(LeftOut(number=unit.unit.number, key=unit.key, why=str(error)))
    return pairs, left_out + list(_unfinished(folder, seen)) * (selection == ALL)


def _check_comparable(unit: Finished, *, edited: bool) -> None:
    if not unit.record.get("frames"):
        raise BadRequest(f"{unit.title} imagines nothing; scores need pictures. Give it seconds.")
    if unit.request.edit is not None and not edited:
        raise BadRequest(f"{unit.title} has an edit, which no recording shows. Use --by edit to compare it anyway.")
    if not unit.has_camera_videos:
        raise BadRequest(
            f"{unit.title} has no videos of single cameras. Add 'cameras' to the job's outputs and run it again."
        )


def _unfinished(folder: "BatchFolder", seen: Container[str]) -> Iterator[LeftOut]:
    failures = {row.key: row for row in folder.failures()}
    for unit in folder.batch.units:
        if unit.key in failures:
            row = failures[unit.key]
            yield LeftOut(number=unit.number, key=unit.key, why=f"failed, {row.kind}: {row.message}")
        elif unit.key not in seen:
            yield LeftOut(number=unit.number, key=unit.key, why="not done yet")
