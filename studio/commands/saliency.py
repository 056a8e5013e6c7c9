"""The command that shows where planners look."""

from typing import Annotated

import typer

from studio.commands.options import ClipName, Json, Model, Out, Seed, default_model
from studio.console import emit


def saliency(
    clip: ClipName,
    out: Out,
    planner: Annotated[list[str], typer.Option(help="A learned planner's name or folder; may be repeated.")],
    method: Annotated[
        str,
        typer.Option(
            help="gradcam, gradcam-pooled, gradient, integrated; or occlusion, which any planner with pixels has."
        ),
    ] = "gradcam",
    baseline: Annotated[str, typer.Option(help="Of integrated gradients: black or mean.")] = "black",
    seed: Seed = 0,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Where does a planner look? Heat over all cameras, and scores where it is known what stands there."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.saliency import SAID, SaliencyRequest, run_saliency

    request = SaliencyRequest(
        clip=clip,
        planners=tuple(planner),
        method=method,
        baseline=baseline,
        seed=seed,
        model=model or default_model(),
    )
    record = run_saliency(request, out)
    lines = [
        f"  {row['planner']}, {row['layer']}: {row['pm_over_area']:.2f} x the share of {SAID[row['target']]}"
        for row in record["scores"]
    ]
    notes = [f"  note: {text}" for text in (*record["skipped"], *record["notes"])]
    emit({"folder": out, "run": record}, as_json, "\n".join([f"report: {out / 'report.html'}", *lines, *notes]))
