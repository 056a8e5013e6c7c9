"""Two ready comparisons, made from the shipped clips in a visitor's folder: imagined futures, and blurred copies."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from studio.live.polite import Stopped, polite
from studio.live.scores.sides import BLURRED
from studio.live.tasks.background import Reporter
from studio.runs import new_folder
from studio.web.site import Site
from worldmodel.errors import ClipTooShort
from worldmodel.io.lerobot import Dataset
from worldmodel.io.video import write_video

FOLDER = ".examples"  # hidden: not among a visitor's own runs
CLIPS, AT_S, SECONDS = 4, 2.0, 2.0
BLUR_PX, BLURRED_FRAMES = 1.1, 24  # standard deviation; frames of each clip


def make_example(
    name: str, site: Site, session: str, report: Reporter, stopped: Callable[[], bool]
) -> tuple[str, str | None]:
    """Both sides of an example, as `detour score` takes them; what was made before is used again.

    Raises:
        Stopped: when it shall end; what is complete stays.
        BadInput: if the shipped clips or the model cannot be used.
    """
    root = site.visitors.folder(session) / FOLDER
    root.mkdir(exist_ok=True)
    if name == BLURRED:
        folder = _blurred(site.shipped, root / "blurred", report, stopped)
        return str(folder / "blurred"), str(folder / "unchanged")
    return str(_imagined(site, session, root / "imagined", report, stopped)), None


def commands_before(name: str, clips: Path) -> str:
    """What makes an example's sides on the command line."""
    if name == BLURRED:
        return (
            f"# blurred/ and unchanged/: {BLURRED_FRAMES} frames of {CLIPS} clips of {clips} as mp4, the first with\n"
            f"# eval_fid_fvd.corruptions.corrupted(video, 'blur', {BLUR_PX:g}, ...)"
        )
    words = f"detour imagine {clips}:$i@{AT_S:g} --seconds {SECONDS:g} --out imagined/clip-$i"
    return f"for i in {' '.join(map(str, range(CLIPS)))}; do {words}; done"


def _imagined(site: Site, session: str, folder: Path, report: Reporter, stopped: Callable[[], bool]) -> Path:
    """Run folders as `detour imagine` writes them."""
    from studio.imagine import ImagineRequest, run_imagine

    folder.mkdir(exist_ok=True)
    todo = [i for i in _long_enough(site.shipped) if not (folder / f"clip-{i}").is_dir()]
    if todo:
        report("Loading the model")
    for done, i in enumerate(todo):
        model = polite(site.model.get(), site.turns, session, stopped, lambda ahead: report(waiting(ahead)))
        report("Imagining a future for clip", done, len(todo))
        request = ImagineRequest(
            clip=f"{site.shipped.path}:{i}@{AT_S:g}", seconds=SECONDS, model=str(site.model.folder)
        )
        run_imagine(request, folder / f"clip-{i}", model=model)
        if stopped():
            raise Stopped
    return folder


def _long_enough(dataset: Dataset) -> list[int]:
    """The first CLIPS clips with AT_S seconds of a past and SECONDS of what followed."""
    frames = round((AT_S + SECONDS) * dataset.frequency_hz) + 1
    found = [i for i in range(dataset.episodes) if dataset.length(i) >= frames][:CLIPS]
    if not found:
        raise ClipTooShort(
            f"no clip of '{dataset.name}' has {AT_S + SECONDS:g} s; the example needs one. Choose sides of your own."
        )
    return found


def waiting(ahead: int) -> str:
    """How long the queue is, in words."""
    return f"Waiting, {ahead} before you"


def _blurred(dataset: Dataset, out: Path, report: Reporter, stopped: Callable[[], bool]) -> Path:
    """Videos of clips, blurred and unchanged, through the same codec."""
    if out.is_dir():
        return out
    from eval_fid_fvd.corruptions import corrupted

    with new_folder(out) as folder:
        count = min(CLIPS, dataset.episodes)
        for i in range(count):
            report("Blurring clip", i, count)
            frames = min(BLURRED_FRAMES, dataset.length(i))
            video = dataset.frames(i, np.arange(frames))
            for c, camera in enumerate(dataset.rig.names):
                worse = corrupted(video[:, c], "blur", BLUR_PX, frames=frames, generator=np.random.default_rng(i))
                for side, pictures in (("blurred", worse), ("unchanged", video[:, c])):
                    path = folder / side / dataset.ids[i] / f"{camera}.mp4"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_video(path, pictures, dataset.frequency_hz)
            if stopped():
                raise Stopped
    return out
