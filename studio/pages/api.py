"""What programs can call by name through the Gradio client: imagine, stitch, plan. Nothing is shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.live import calls
from studio.live.calls import Answer, Caller
from studio.live.polite import Stopped
from studio.pages.wires import session_of
from studio.web.site import Site
from worldmodel.errors import BadRequest, DetourError

NOBODY = "unknown"  # what `session_of` says of a call without a session


def build(site: Site) -> None:
    """Add the three calls to the open blocks; they share turns, folders and bounds with the pages."""
    import gradio as gr

    def answered(request: gr.Request, ask: Callable[[Caller], Answer]) -> dict[str, Any]:
        try:
            return _plain(ask(_caller(site, request)))
        except DetourError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Stopped as error:
            raise gr.Error("the session was closed before the answer was ready.", print_exception=False) from error

    def imagine(
        request: gr.Request,
        clip: str = "0",
        text: str | None = None,
        actions: list[list[float]] | None = None,
        seconds: float = 4.0,
        seed: int = 0,
        steps: int = 8,
        guidance_text: float = 1.0,
        memory: str = "window",
    ) -> dict[str, Any]:
        """Imagine how a clip goes on. clip: EPISODE[@SECONDS] of the clips that ship, such as '3@2.5', mine/NAME:EPISODE of an
        upload, or DATASET:EPISODE@SECONDS where folders are open. text: what the driver is told; null for the clip's own
        instruction. actions: the path to drive as rows [t, x, y, yaw] (seconds from now, metres ahead and to the left,
        radians); null lets the model drive. seconds: at most 60. The answer has 'facts' (trajectory, scores, texts,
        warnings) and 'files' ('film', an mp4 of all cameras, and 'run', the run folder as zip)."""
        return answered(
            request,
            lambda caller: calls.imagine(
                caller, clip=clip, text=text, actions=actions, seconds=seconds, seed=seed, steps=steps,
                guidance_text=guidance_text, memory=memory,
            ),
        )  # fmt: skip

    def stitch(
        request: gr.Request,
        clip: str = "0",
        variant: str = "near",
        kind: str = "car",
        x_m: float | None = None,
        y_m: float | None = None,
        yaw_deg: float = 0.0,
        speed_mps: float = 0.0,
        planners: list[str] | None = None,
        samples: int = 8,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Put an object into a clip and plan with and without it. clip: as for imagine. variant: near, far, very_far; sky_near,
        sky_far, sky (controls); lookalike or empty. kind: car, van, truck, pedestrian, cyclist, cone or box. x_m, y_m: its
        place ahead and to the left; null for the variant's own. planners: names such as joint, constant-velocity, rich/ik;
        null for joint. The answer has 'facts' (responses in metres and seconds, the town's own answer where it knows it)
        and 'files' ('film' and 'run')."""
        return answered(
            request,
            lambda caller: calls.stitch(
                caller, clip=clip, variant=variant, kind=kind, x_m=x_m, y_m=y_m, yaw_deg=yaw_deg, speed_mps=speed_mps,
                planners=planners or (), samples=samples, seed=seed,
            ),
        )  # fmt: skip

    def plan(
        request: gr.Request, clip: str = "0", planners: list[str] | None = None, samples: int = 8, seed: int = 0
    ) -> dict[str, Any]:
        """What would the driver do? Plans for 4 s at a moment of a clip, with their distance to what was driven. clip and
        planners: as for stitch. The answer has 'facts' and no files."""
        return answered(
            request,
            lambda caller: calls.plan(caller, clip=clip, planners=planners or (), samples=samples, seed=seed),
        )

    for call in (imagine, stitch, plan):
        gr.api(call, api_name=call.__name__, concurrency_limit=None)


def _caller(site: Site, request: Any) -> Caller:
    session = session_of(request)
    if session == NOBODY:
        raise BadRequest(
            "the call names no session, so its files would belong to nobody. Use gradio_client, or send a 'session_hash' of "
            "your own."
        )
    return Caller(site=site, session=session)


def _plain(answer: Answer) -> dict[str, Any]:
    """Facts, and files in the form that the client downloads."""
    return {"facts": answer.facts, "files": {name: _file(path) for name, path in answer.files.items()}}


def _file(path: Path) -> dict[str, Any]:
    return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
