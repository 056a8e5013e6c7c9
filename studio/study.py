"""`detour study`: scenes times things put in the way times planners, resumable; rows, moments, a summary and a report.

OUT/rows.parquet      one row per (scene, planner, variant, sample)
OUT/moments.json      every moment that was judged, and why it may be used or not; later studies may begin with it
OUT/study.json        the request, the summary, versions and commit
OUT/report.html       tables, figures, examples chosen by rule, and how it was done; one file that opens offline
OUT/report.md         the same tables for reading in a repository, with the figures beside it
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

from studio.eligible import Verdict
from studio.runs import commit, versions, write_json
from studio.study_cases import Known, cases_of
from studio.study_config import StudyConfig
from studio.study_eyes import Make, check_names, longest_history_s, planners_of
from studio.study_report import write_study_report
from studio.study_rows import one_thread, scene_rows, table_of, verdict_rows
from studio.study_summary import summary_of
from worldmodel.errors import BadTable
from worldmodel.town.dataset import fill
from worldmodel.town.records.shelf import Shelf, new_piece, open_shelf
from worldmodel.town.records.workers import check_workers

Progress = Callable[[int, int], None]
JUDGED_BY = (  # fields that decide which moments may be used
    "dataset", "kind", "scenes", "situations", "split", "seed", "moments_s", "stretch_s", "without_boxes", "frequency_hz",
)  # fmt: skip


def run_study(
    config: StudyConfig,
    out: Path,
    *,
    moments: Path | None = None,
    workers: int = 1,
    make: Make = planners_of,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a study and write its folder; returns the content of `study.json`.

    Killed half-way and called again with the same study, it goes on where it stopped ('OUT.partial' keeps the finished
    scenes), and `rows.parquet` equals that of an undisturbed run, byte for byte, whatever the number of workers.

    Args:
        config: The study.
        out: A folder that does not exist yet.
        moments: `moments.json` of an earlier study of the same scenes, so that they are not judged again.
        workers: Processes side by side.
        make: Makes the planners in each process; of more than one worker a function of a module.
        progress: Called with (scenes done, scenes in all).
    Raises:
        OutputExists: if `out` exists or cannot be written, or 'OUT.partial' belongs to another study.
        BadTable: if `moments` cannot be read, or judged other scenes.
        UnknownName, BadRequest, BadCheckpoint, BadDataset: if the scenes or the planners cannot be made.
        DetourError: if a worker process dies.
    """
    check_workers(workers)
    planners = make(config)  # a wrong name or checkpoint is said before hours of work
    check_names(planners)
    known = None if moments is None else read_moments(moments, config)
    count = cases_of(config, longest_history_s(planners, config)).count
    with open_shelf(Path(out), _identity(config), count) as shelf:
        jobs = [("", number) for number in range(count)]
        fill(shelf, partial(_piece, shelf=shelf, config=config, make=make, known=known), jobs, workers, progress)
        record = _whole(shelf, config, make)
        shelf.finish(shelf.folder / "whole")
    return record


def _identity(config: StudyConfig) -> dict[str, Any]:
    from worldmodel.town.records.fingerprint import town_fingerprint

    return {"made": "study", **asdict(config), "town": town_fingerprint()}


def _judged(config: StudyConfig) -> dict[str, Any]:
    """What two studies must have in common for their moments to be the same."""
    identity = json.loads(json.dumps(_identity(config)))
    return {name: identity[name] for name in (*JUDGED_BY, "town")}


def read_moments(path: Path, config: StudyConfig) -> Known:
    """The verdicts of an earlier study.

    Raises:
        BadTable: if the file cannot be read, or its moments are of other scenes, rules or another version of the town.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        judged, rows = content["judged"], content["moments"]
        verdicts = [_verdict(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadTable(
            f"'{path}' holds no judged moments ({type(error).__name__}: {error}). Give the moments.json of an earlier study."
        ) from error
    wanted = _judged(config)
    other = [name for name in wanted if judged.get(name) != wanted[name]]
    if other:
        raise BadTable(
            f"the moments in '{path}' were judged with another {', '.join(other)} than this study has. Leave --moments out, so that "
            "they are judged anew."
        )
    return _by_scene(verdicts)


def _by_scene(verdicts: Sequence[Verdict]) -> Known:
    found: dict[str, tuple[Verdict, ...]] = {}
    for one in verdicts:
        found[one.scene] = (*found.get(one.scene, ()), one)
    return found


def _verdict(row: Mapping[str, Any]) -> Verdict:
    told = {field.name: row[field.name] for field in fields(Verdict)}
    return Verdict(**{**told, "speed_mps": math.nan if row["speed_mps"] is None else float(row["speed_mps"])})


def _piece(
    job: tuple[int, tuple[str, int]], *, shelf: Shelf, config: StudyConfig, make: Make, known: Known | None
) -> None:
    import pyarrow.parquet as pq

    number, _ = job
    found = scene_rows(config, number, make, known)
    with new_piece(shelf, number) as folder:
        pq.write_table(table_of(found.rows), folder / "rows.parquet")
        (folder / "moments.json").write_text(json.dumps(verdict_rows(found.verdicts)))


def _whole(shelf: Shelf, config: StudyConfig, make: Make) -> dict[str, Any]:
    """Put the pieces together, in order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = shelf.folder / "whole"
    whole.mkdir()
    places = [shelf.place(number) for number in range(shelf.count)]
    rows = pa.concat_tables([pq.read_table(place / "rows.parquet") for place in places]).combine_chunks()
    moments = [one for place in places for one in json.loads((place / "moments.json").read_text())]
    pq.write_table(rows, whole / "rows.parquet")
    write_json(whole / "moments.json", {"judged": _judged(config), "moments": moments})
    planners = make(config)
    names = {asked: planner.name for asked, planner in zip(config.planners, planners, strict=True)}
    record = {
        "command": "detour study",
        "request": asdict(config),
        "planners": names,
        "versions": versions(),
        "commit": commit(),
        "notice": "Edited frames show objects that were never there. Research tool; no evidence of road safety.",
        "summary": summary_of(config, rows, moments, names),
    }
    write_json(whole / "study.json", record)
    with one_thread():
        write_study_report(whole, config, record, rows, planners, _by_scene([_verdict(row) for row in moments]))
    return record


def lines_of(summary: dict[str, Any]) -> list[str]:
    """The summary for people: eligible scenes, reactions, primary contrasts, comparisons, what is missing."""
    frames = summary["frames"]
    reasons = ", ".join(f"{reason} {count}" for reason, count in frames["moments"].items() if reason != "eligible")
    lines = [f"eligible: {frames['eligible']} of {frames['scenes']} scenes (other moments: {reasons or 'none'})"]
    lines += [
        f"  {row['planner']:<22} {row['variant']:<10} change {row['change_m']['mean']:+6.2f} m, reaction "
        f"{row['reaction_m']['mean']:5.2f} m, over 0.5 m {row['over_half_m']['mean']:4.0%}, over 2 m "
        f"{row['over_two_m']['mean']:4.0%} of {row['scenes']} scenes"
        for row in summary["reactions"]
    ]
    lines += [
        f"  {row['planner']:<22} {row['larger']} - {row['smaller']}: {_interval(row['difference_m'])} m, p {row['p']:.2g}"
        f" (Holm {row['p_holm']:.2g}), larger in {row['share_larger']:.0%}"
        for row in summary["contrasts"]
        if row["primary"]
    ]
    lines += [
        f"  {row['one']} - {row['other']}, {row['measure']}: {_interval(row['difference'])} (p {row['p']:.2g})"
        for row in summary["comparisons"]
    ]
    lines += [
        f"  missing: {row['planner']}, {row['variant']}: {row['count']} x {row['why']}" for row in summary["failed"]
    ]
    return lines


def _interval(value: dict[str, Any]) -> str:
    if value["low"] is None:
        return f"{value['mean']:+.2f}"
    return f"{value['mean']:+.2f} [{value['low']:+.2f}, {value['high']:+.2f}]"
