"""The command that measures: how far is what was generated from what is real?"""

from pathlib import Path
from typing import Annotated

import typer

from studio.commands.options import Model, Seed, default_model
from studio.console import counter, emit, say


def score(
    a: Annotated[
        str, typer.Argument(help="The generated side: folder of videos, a video, a dataset, or a run folder.")
    ],
    b: Annotated[
        str | None,
        typer.Argument(help="The real side, with the same names; a run that holds what followed needs none."),
    ] = None,
    metrics: Annotated[str, typer.Option(help="Comma separated; default: the preset's, or psnr,ssim,fid,fvd.")] = "",
    preset: Annotated[str, typer.Option(help="Count as vista, epona, magicdrive-v2 or opendwm do.")] = "",
    frames: Annotated[int | None, typer.Option(help="Frames per clip; default: all.")] = None,
    condition_frames: Annotated[
        int | None, typer.Option(help="Frames at each clip's start that the model saw.")
    ] = None,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT to bring both sides to; default: their own, equal.")] = "",
    frequency: Annotated[
        float | None, typer.Option(help="Hz to thin both sides to; default: their own, equal.")
    ] = None,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Two sets of clips: names need not match.")] = False,
    per_camera: Annotated[bool, typer.Option("--per-camera", help="Every number also for each camera.")] = False,
    windows: Annotated[float | None, typer.Option(help="Also in windows of this many seconds along the clips.")] = None,
    drift: Annotated[
        bool, typer.Option("--drift", help="Also how far clips move away from their own beginning.")
    ] = False,
    consistency: Annotated[
        bool, typer.Option("--consistency", help="Also whether cameras agree on the ground they share (datasets).")
    ] = False,
    video: Annotated[str, typer.Option(help="Of a run: which video to score.")] = "",
    weights: Annotated[
        list[Path] | None,
        typer.Option(help="Published weights (Inception, I3D, ...), known by their hash; repeatable."),
    ] = None,
    features: Annotated[str, typer.Option(help="Without weights: town, tokenizer, or a folder.")] = "town",
    compare: Annotated[Path | None, typer.Option(help="Put these scores beside a scores.json made before.")] = None,
    device: Annotated[str, typer.Option(help="Where feature networks run, such as cpu or cuda.")] = "cpu",
    model: Model = "",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="File for the scores; default: scores.json.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and write a file only with --out.")
    ] = False,
) -> None:
    """Scores between two sets of videos, each with its card; feature networks are named in every number."""
    from eval_fid_fvd.comparison import comparison_table
    from studio.scoring import ScoreRequest, compare_with, parsed_size, run_score

    request = ScoreRequest(
        a=a,
        b=b,
        metrics=tuple(name.strip() for name in metrics.split(",") if name.strip()),
        preset=preset,
        frames=frames,
        condition_frames=condition_frames,
        size=parsed_size(size),
        frequency_hz=frequency,
        paired=not unpaired,
        per_camera=per_camera,
        window_s=windows,
        drift=drift,
        consistency=consistency,
        video=video,
        weights=tuple(weights or ()),
        features=features,
        model=model or default_model(),
        device=device,
        seed=seed,
    )
    file = out or (None if as_json else Path("scores.json"))
    scores = run_score(request, file, on_clip=counter("clips"))
    text = scores.table() + ("" if file is None else f"\nwritten: {file}")
    if compare is None:
        emit(scores.to_json(), as_json, text)
        return
    say(text)
    rows = compare_with(scores, compare)
    emit({**scores.to_json(), "comparison": [row.to_json() for row in rows]}, as_json, comparison_table(rows))
