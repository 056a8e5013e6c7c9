"""`detour study`: town scenes times variants times planners, resumable; rows, eligible moments and a summary.

OUT/rows.parquet      one row per (scene, planner, variant, sample)
OUT/moments.json      every moment that was judged, and why it may be used or not
OUT/study.json        the request, the summary, versions and commit
OUT/report.html       tables, a figure, examples chosen by rule, and how it was done; one file that opens offline
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from studio.runs import commit, versions, write_json
from studio.study_config import StudyConfig
from studio.study_report import write_study_report
from studio.study_rows import Make, one_thread, planners_of, scene_rows, table_of, verdict_rows
from studio.study_summary import summary_of
from worldmodel.town.dataset import fill
from worldmodel.town.records.shelf import Shelf, new_piece, open_shelf
from worldmodel.town.records.workers import check_workers

Progress = Callable[[int, int], None]


def run_study(
    config: StudyConfig,
    out: Path,
    *,
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
        workers: Processes side by side.
        make: Makes the planners in each process; of more than one worker a function of a module.
        progress: Called with (scenes done, scenes in all).
    Raises:
        OutputExists: if `out` exists or cannot be written, or 'OUT.partial' belongs to another study.
        UnknownName, BadRequest, BadCheckpoint: if the scenes or the planners cannot be made.
        DetourError: if a worker process dies.
    """
    from worldmodel.town.mixes import scene_list

    check_workers(workers)
    pairs = scene_list(config.scenes, config.seed, situations=config.situations or None, split=config.split)
    make(config)  # a wrong name or checkpoint is said before hours of work
    with open_shelf(Path(out), _identity(config), config.scenes) as shelf:
        fill(shelf, partial(_piece, shelf=shelf, config=config, make=make), pairs, workers, progress)
        record = _whole(shelf, config, make)
        shelf.finish(shelf.folder / "whole")
    return record


def _identity(config: StudyConfig) -> dict[str, Any]:
    from worldmodel.town.records.fingerprint import town_fingerprint

    return {"made": "study", **asdict(config), "town": town_fingerprint()}


def _piece(job: tuple[int, tuple[str, int]], *, shelf: Shelf, config: StudyConfig, make: Make) -> None:
    import pyarrow.parquet as pq

    number, pair = job
    found = scene_rows(config, pair, make)
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
    write_json(whole / "moments.json", moments)
    record = {
        "command": "detour study",
        "request": asdict(config),
        "versions": versions(),
        "commit": commit(),
        "notice": "Edited frames show objects that were never there. Research tool; no evidence of road safety.",
        "summary": summary_of(config, rows, moments),
    }
    write_json(whole / "study.json", record)
    with one_thread():
        write_study_report(whole / "report.html", config, record, rows, make(config))
    return record


def lines_of(summary: dict[str, Any]) -> list[str]:
    """The summary for people: eligible scenes, reactions and primary contrasts."""
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
        f"  missing: {row['planner']}, {row['variant']}: {row['count']} x {row['why']}" for row in summary["failed"]
    ]
    return lines


def _interval(value: dict[str, Any]) -> str:
    if value["low"] is None:
        return f"{value['mean']:+.2f}"
    return f"{value['mean']:+.2f} [{value['low']:+.2f}, {value['high']:+.2f}]"
