"""`detour plan`: what planners answer, and how close they come to what was driven."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.demo import DEFAULT_MODEL, wish_of
from studio.moments import Wish, moment_of
from studio.plan_scores import INPUTS, Answer, Future, plan_summary
from studio.planners import DEFAULT_PLANNERS, make_planner, model_for
from worldmodel.errors import ClipTooShort, Diverged, MissingMotion, PolicyError
from worldmodel.io.lerobot import Dataset, find_clip
from worldmodel.plans import PLAN_TIMES_S

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

WITHOUT_MODEL = Wish(history=8, chunk=2, future_s=float(PLAN_TIMES_S[-1]))


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What `detour plan` is asked for.

    Attributes:
        clip: DATASET for all its episodes, or DATASET:EPISODE[@SECONDS] for one.
        planners: Who is asked.
        samples: Plans per answer of the joint planner.
        seed: Of all plans.
        model: Checkpoint folder of the joint planner.
    """

    clip: str
    planners: tuple[str, ...] = DEFAULT_PLANNERS
    samples: int = 8
    seed: int = 0
    model: str = DEFAULT_MODEL


def run_plan(
    request: PlanRequest,
    *,
    model: "WorldModel | None" = None,
    on_clip: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Plan once per clip and compare with what was driven, decided, and in the way; with counts.

    Returns:
        `plans`: one entry per clip and planner (poses, ADE, FDE); `scores`: per planner as `plan_summary`; `inputs`: what
        the planners see; `skipped`: clips left out, and why.

    Raises:
        BadInput: if the request, dataset or checkpoint cannot be used.
    """
    dataset, episode, at_s = find_clip(request.clip)
    world = model or model_for(request.planners, request.model)
    wish = WITHOUT_MODEL if world is None else wish_of(world, WITHOUT_MODEL.future_s)
    named = not Path(request.clip).is_dir()
    episodes = [episode] if named else list(range(dataset.episodes))
    answers: list[Answer] = []
    skipped: list[str] = []
    for done, index in enumerate(episodes, start=1):
        answers += _planned(request, dataset, index, at_s, wish, world, skipped, alone=named)
        on_clip(done, len(episodes))
    names = dict.fromkeys(answer.planner for answer in answers)
    return {
        "clip": request.clip,
        "seed": request.seed,
        "inputs": INPUTS,
        "plans": [answer.facts() for answer in answers],
        "scores": {name: plan_summary([a for a in answers if a.planner == name], request.seed) for name in names},
        "skipped": skipped,
    }


def _planned(
    request: PlanRequest,
    dataset: Dataset,
    episode: int,
    at_s: float | None,
    wish: Wish,
    world: "WorldModel | None",
    skipped: list[str],
    *,
    alone: bool,
) -> list[Answer]:
    try:
        moment = moment_of(dataset, episode, at_s, wish)
    except ClipTooShort as error:
        if alone:
            raise
        skipped.append(str(error))
        return []
    answers, future = [], Future(moment)
    for name in request.planners:
        try:
            plan = make_planner(name, world, request.samples).plan(moment.observation(), request.seed)
        except (MissingMotion, PolicyError, Diverged) as error:
            skipped.append(f"clip '{moment.clip.id}', {name}: {error}")
            continue
        answers.append(Answer(planner=name, plan=plan, future=future))
    return answers
