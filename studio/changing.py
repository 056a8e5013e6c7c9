"""`detour change`: somebody is gone, the light is another, or the driver is told something else; what planners answer to it."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.counterfactual import Pair, pair_of, response_row
from studio.demo import DEFAULT_MODEL, wish_of
from studio.demo_report import facts_of, plans_drawn, responses_table, timings_table
from studio.html_report import Block, Figure, Note, Section, Video, write_report
from studio.moments import Moment, find_moment
from studio.overlays import COLORS, PathLayer, birds_eye_svg
from studio.planners import DEFAULT_PLANNERS, make_planner, model_for
from studio.planning import WITHOUT_MODEL
from studio.runs import RunWriter, new_folder, refuse_existing
from studio.sides import Place, Sides, answer_of, sides_of
from studio.town_answer import TownAnswer, add_town_paths, town_facts, town_layers
from worldmodel.edits import ChangeInstruction, ChangeWeather, RemoveActor
from worldmodel.errors import BadRequest, Diverged, MissingMotion, PolicyError

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


@dataclass(frozen=True, kw_only=True)
class ChangeRequest:
    """What `detour change` is asked for: one of `remove`, `weather` and `text`.

    Attributes:
        clip: DATASET[:EPISODE[@SECONDS]].
        remove: Track of the road user that is gone; clips of the town only.
        weather: Another weather; clips of the town only.
        hour: Of the day, with `weather`.
        text: What the driver is told instead.
        planners: Who is asked.
        samples: Plans per answer of the joint planner.
        seed: Shared by both plans.
        model: Checkpoint folder.
    """

    clip: str
    remove: str | None = None
    weather: str | None = None
    hour: float = 12.0
    text: str | None = None
    planners: tuple[str, ...] = DEFAULT_PLANNERS
    samples: int = 8
    seed: int = 0
    model: str = DEFAULT_MODEL
    edit: RemoveActor | ChangeWeather | ChangeInstruction = field(init=False, repr=False)

    def __post_init__(self) -> None:
        said = [name for name in ("remove", "weather", "text") if getattr(self, name) is not None]
        if len(said) != 1:
            raise BadRequest(
                f"{' and '.join(f'--{name}' for name in said) or 'no change'} was asked for; exactly one of --remove, --weather "
                "and --text says what is changed."
            )
        edits: dict[str, RemoveActor | ChangeWeather | ChangeInstruction] = {
            "remove": RemoveActor(track=str(self.remove)),
            "weather": ChangeWeather(weather=str(self.weather), hour=self.hour),
            "text": ChangeInstruction(text=str(self.text)),
        }
        object.__setattr__(self, "edit", edits[said[0]])


def run_change(request: ChangeRequest, out: Path, *, model: "WorldModel | None" = None) -> dict[str, Any]:
    """Change one thing, plan before and after, and write the run folder; returns `run.json` with `responses`.

    The folder has what is seen up to now on both sides, both plans of every planner, and a report.

    Raises:
        BadInput: if the request, clip or checkpoint cannot be used, or `out` exists.
    """
    refuse_existing(Path(out))
    world = model or model_for(request.planners, request.model)
    wish = WITHOUT_MODEL if world is None else wish_of(world, WITHOUT_MODEL.future_s)
    place = Place(find_moment(request.clip, wish))
    started = time.perf_counter()
    sides = sides_of(place, request.edit)
    changed_s = time.perf_counter() - started
    pairs, skipped = _pairs(request, place.moment, sides, world)
    town = answer_of(place, sides)
    with new_folder(Path(out)) as folder:
        plain = {name: value for name, value in asdict(request).items() if name != "edit"}
        run = RunWriter(folder=folder, command="detour change", request=plain, seed=request.seed)
        run.timings_s |= {"change": changed_s, "plan": time.perf_counter() - started - changed_s}
        for pair in pairs:
            run.paths[f"plan {pair.planner} without"] = pair.factual.trajectory
            run.paths[f"plan {pair.planner} with"] = pair.edited.trajectory
        add_town_paths(run, town)
        for name, video in zip(("before", "after"), sides.seen, strict=True):
            run.add_video(name, video, place.moment.clip.rig, place.moment.clip.frequency_hz, imagined=False)
        blocks = _blocks(run, sides, pairs, (*sides.notes, *skipped), town)
        facts = {
            "responses": {pair.planner: response_row(pair.response) for pair in pairs},
            "town": town_facts(town),
            "notes": list(sides.notes),
            "skipped": skipped,
        }
        record = run.finish([], facts)
        name = "no model" if world is None else f"{world.config.preset}, weights {world.hash}"
        write_report(
            folder / "report.html",
            f"{_title(request)}: clip {place.moment.clip.id}",
            "One thing is changed, everything else and the seed stay.",
            [
                Section(heading="Plans before and after", blocks=blocks),
                Section(heading="Time spent", blocks=[timings_table(record["timings_s"])]),
            ],
            facts_of(record, place.moment.clip, name),
        )
        return record


def _pairs(
    request: ChangeRequest, moment: Moment, sides: Sides, world: "WorldModel | None"
) -> tuple[list[Pair], list[str]]:
    """Everybody's plans before and after, and who could not be asked."""
    pairs, skipped = [], []
    asked = {"at_s": moment.at_s, "history_s": moment.history_s}
    for name in request.planners:
        planner = make_planner(name, world, request.samples)
        try:
            pairs.append(pair_of(planner, sides.before.clip, sides.edited, sides.edit, **asked, seed=request.seed))
        except (MissingMotion, PolicyError, Diverged) as error:
            skipped.append(f"{planner.name}: {error}")
    return pairs, skipped


def _title(request: ChangeRequest) -> str:
    if request.remove is not None:
        return f"{request.remove} gone"
    return f"{request.weather} at {request.hour:g} h" if request.weather is not None else f"'{request.text}'"


def _blocks(
    run: RunWriter, sides: Sides, pairs: list[Pair], notes: tuple[str, ...], town: TownAnswer | None
) -> list[Block]:
    blocks: list[Block] = [Note(text=text) for text in notes]
    if pairs:
        moment, first = sides.after, pairs[0]
        frames = plans_drawn(moment.clip, moment.now, first.factual, first.edited)
        path = run.add_picture_row("plans", frames, moment.clip.frequency_hz, imagined=False)
        blocks += [
            Video(
                path=path, alt="What is seen after the change, then the plans.", caption="Blue: before. Orange: after."
            ),
            Figure(svg=_above(moment, first, town), caption="From above; a line each 10 m."),
            responses_table(pairs, town),
        ]
    return [*blocks, town.sentence] if town is not None else blocks


def _above(moment: Moment, pair: Pair, town: TownAnswer | None) -> str:
    layers = [
        PathLayer(label="before", points_m=pair.factual.trajectory.poses[:, :2], color=COLORS["before"]),
        PathLayer(label="after", points_m=pair.edited.trajectory.poses[:, :2], color=COLORS["after"]),
    ]
    driven = moment.driven()
    if driven is not None:
        layers.append(PathLayer(label="driven", points_m=driven.poses[:, :2], color=COLORS["truth"], dashed=True))
    boxes = moment.clip.boxes[moment.now] if moment.clip.boxes is not None else ()
    return birds_eye_svg([*layers, *town_layers(town)], boxes=boxes, title="Plans from above")
