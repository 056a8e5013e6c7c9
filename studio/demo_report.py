"""What the demo's run folder shows: its videos, its plots, its tables, and the words around them."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from studio.counterfactual import Pair
from studio.demo_story import Story
from studio.html_report import Block, Figure, Note, Section, Table, Video, write_report
from studio.overlays import COLORS, PathLayer, birds_eye_svg, display_rig, mosaic, upscaled, with_path
from studio.runs import RunWriter
from studio.stitch import place_of
from studio.town_answer import DRIVER, TownAnswer, add_town_paths, town_facts, town_layers
from worldmodel.clips import Clip
from worldmodel.geometry import Array
from worldmodel.plans import Plan, Response

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

HOLD_S = 1.5  # how long the last seen frame is held with the plans drawn on it


def write_demo_report(run: RunWriter, story: Story, world: "WorldModel") -> None:
    """Write videos, tables, `run.json` and `report.html` of a told story."""
    sections = [_seen(run, story), _imagined(run, story), _obstacle(run, story), _scores(story)]
    if story.skipped:
        sections.append(Section(heading="What could not be done", blocks=[Note(text=text) for text in story.skipped]))
    sections.append(Section(heading="Time spent", blocks=[timings_table(run.timings_s)]))
    _paths(run, story)
    model = {"hash": world.hash, "preset": world.config.preset, "stages": list(world.config.stages)}
    facts = {
        "clip": {
            "id": story.moment.clip.id,
            "source": story.moment.clip.source,
            "at_s_in_cut": story.moment.at_s,
            "motion": story.moment.clip.motion_origin,
        },
        "model": model,
        "skipped": story.skipped,
        "stitch": None if story.edited is None or story.edited.stitched is None else story.edited.stitched.provenance,
        "town": town_facts(story.town),
    }
    record = run.finish(story.scores, facts)
    write_report(
        run.folder / "report.html",
        f"What if there were something in the way? Clip {story.moment.clip.id}",
        "The model watched a drive, imagined how it goes on, and was asked what it would drive, with and without an "
        "obstacle that was never there.",
        sections,
        facts_of(record, story.moment.clip, f"{world.config.preset}, weights {world.hash}"),
    )


def facts_of(record: dict[str, Any], clip: Clip, model: str) -> dict[str, str]:
    """The table at the end of every report."""
    return {
        "command": str(record["command"]),
        "clip": f"{clip.id} ({clip.source or 'source unknown'})",
        "ego motion": clip.motion_origin,
        "cameras": ", ".join(clip.rig.names) + (" (nominal calibration, assumed)" if clip.rig.nominal else ""),
        "model": model,
        "seed": str(record["seed"]),
        "commit": str(record["commit"]),
        **{f"version of {name}": number for name, number in record["versions"].items()},
    }


def timings_table(timings_s: dict[str, float]) -> Table:
    """Seconds per part, and their sum."""
    rows = [(part, f"{seconds:.1f}") for part, seconds in timings_s.items()]
    return Table(head=("part", "seconds"), rows=[*rows, ("together", f"{sum(timings_s.values()):.1f}")])


def _seen(run: RunWriter, story: Story) -> Section:
    clip = story.moment.clip
    seen = clip.video[: story.moment.now + 1]
    blocks: list[Block] = [
        f"The model sees {len(seen)} frames ({len(seen) / clip.frequency_hz:.1f} s) of {len(clip.rig)} camera(s) up to "
        "the moment called now. First what it saw, then what really followed, which it never sees.",
        Video(
            path=run.add_video("seen", seen, clip.rig, clip.frequency_hz, imagined=False),
            alt="The frames the model saw, all cameras side by side.",
            caption="Seen (recorded).",
        ),
    ]
    if len(clip) > story.moment.now + 1:
        path = run.add_video(
            "followed", clip.video[story.moment.now + 1 :], clip.rig, clip.frequency_hz, imagined=False
        )
        blocks.append(Video(path=path, alt="What the recording shows afterwards.", caption="What followed (recorded)."))
    if told := clip.instruction_at(story.moment.at_s):
        blocks.append(f"The driver was told: {told}")
    return Section(heading="What was seen", blocks=blocks)


def _imagined(run: RunWriter, story: Story) -> Section:
    blocks: list[Block] = ["Two futures from the same seed; only the instruction differs. The motion is imagined too."]
    layers = _truth_layers(story)
    for i, (text, rollout) in enumerate(story.rollouts):
        path = run.add_video(f"imagined-{i + 1}", rollout.video, rollout.rig, rollout.frequency_hz, imagined=True)
        blocks.append(
            Video(path=path, alt=f"An imagined future, told '{text}'.", caption=f"Told: {text}", imagined=True)
        )
        color = COLORS["before"] if i == 0 else COLORS["other"]
        layers.append(
            PathLayer(label=f"imagined, told '{text}'", points_m=rollout.trajectory.poses[:, :2], color=color)
        )
    if story.replay is not None:
        replay = story.replay
        blocks.append(
            "The same, but the model is given the motion that was really driven: so it can be compared frame by frame."
        )
        path = run.add_video("imagined-as-driven", replay.video, replay.rig, replay.frequency_hz, imagined=True)
        blocks.append(
            Video(
                path=path, alt="An imagined future along the logged motion.", caption="Driven as logged.", imagined=True
            )
        )
    blocks.append(
        Figure(
            svg=birds_eye_svg(layers, title="Imagined paths from above"),
            caption="Imagined paths from above; a dot per frame, a line each 10 m.",
        )
    )
    return Section(heading="What the model imagines", blocks=blocks)


def _truth_layers(story: Story) -> list[PathLayer]:
    driven = story.moment.driven()
    if driven is None:
        return []
    return [PathLayer(label="driven (recorded)", points_m=driven.poses[:, :2], color=COLORS["truth"], dashed=True)]


def _history_layer(story: Story) -> list[PathLayer]:
    past = story.moment.past()
    if past is None:
        return []
    return [PathLayer(label="history", points_m=past.poses[:, :2], color=COLORS["history"], dashed=True)]


def _obstacle(run: RunWriter, story: Story) -> Section:
    stitched = None if story.edited is None else story.edited.stitched
    if not story.pairs:
        return Section(
            heading="An obstacle that was never there", blocks=[Note(text="No planner could answer for this clip.")]
        )
    first = story.pairs[0]
    clip = story.moment.clip if stitched is None else stitched.clip
    blocks: list[Block] = []
    if stitched is None:
        blocks.append(Note(text="No obstacle could be stitched into this clip; the plans below are without one."))
    else:
        blocks.append(
            f"A {stitched.provenance['sprite']} was put on the road 12 m ahead of now. It stands still in the world, has its "
            f"true size in every frame and camera, and other road users hide it where that is known "
            f"(occlusion: {stitched.provenance['occlusion']}). Both plans share one seed."
        )
        blocks += (
            [Note(text=note) for note in stitched.provenance["notes"]]
            if isinstance(stitched.provenance["notes"], list)
            else []
        )
    frames = plans_drawn(clip, story.moment.now, first.factual, None if stitched is None else first.edited)
    path = run.add_picture_row("stitched", frames, clip.frequency_hz, imagined=False)
    blocks.append(
        Video(
            path=path,
            alt="The seen frames with the stitched object; at the end the plans are drawn on the road.",
            caption="Blue: planned without the object. Orange: with it. The object is edited in, not recorded.",
        )
    )
    layers = [
        *_history_layer(story),
        *_truth_layers(story),
        PathLayer(
            label=f"{first.planner}, without", points_m=first.factual.trajectory.poses[:, :2], color=COLORS["before"]
        ),
    ]
    if stitched is not None:
        layers.append(
            PathLayer(
                label=f"{first.planner}, with", points_m=first.edited.trajectory.poses[:, :2], color=COLORS["after"]
            )
        )
    layers += town_layers(story.town)
    boxes = story.moment.clip.boxes[story.moment.now] if story.moment.clip.boxes is not None else ()
    obstacle = None if stitched is None else place_of(stitched)
    svg = birds_eye_svg(
        layers, boxes=boxes, obstacle_m=obstacle, title="Plans with and without the obstacle, from above"
    )
    blocks.append(
        Figure(svg=svg, caption="From above: a dot each 0.5 s, a line each 10 m, the cross is the stitched object.")
    )
    if stitched is not None:
        blocks.append(responses_table(story.pairs, story.town))
    if story.town is not None:
        blocks.append(story.town.sentence)
    return Section(heading="An obstacle that was never there", blocks=blocks)


def plans_drawn(clip: Clip, now: int, before: Plan, after: Plan | None) -> UInt8[Array, "time 3 height width"]:
    """The frames up to now as mosaics, then the last one held with the plans drawn on the road."""
    seen = mosaic(clip.video[: now + 1], clip.rig)
    rig = display_rig(clip.rig)
    last = upscaled(clip.video[now], rig.width_px, rig.height_px)
    drawn = []
    for picture, camera in zip(last, rig.cameras, strict=True):
        picture = with_path(picture, camera, before.trajectory.poses[:, :2], COLORS["before"])
        if after is not None:
            picture = with_path(picture, camera, after.trajectory.poses[:, :2], COLORS["after"])
        drawn.append(picture)
    held = mosaic(np.stack(drawn)[None], rig, title="plans")
    return np.concatenate([seen, np.repeat(held, max(1, round(HOLD_S * clip.frequency_hz)), axis=0)])


def responses_table(pairs: list[Pair], town: TownAnswer | None = None) -> Table:
    """How each planner's 4 s changed, and those of the town's driver where the clip is from the town."""
    rows = [_response_cells(pair.planner, pair.response) for pair in pairs]
    if town is not None and town.response is not None:
        rows.append(_response_cells(f"{DRIVER} (a real obstacle)", town.response))
    return Table(
        caption="How the plans moved. Planners without eyes cannot react; that is what they are for.",
        head=(
            "planner",
            "metres in 4 s, without",
            "with",
            "change m",
            "endpoint shift m",
            "lateral shift m",
            "brakes after s",
        ),
        rows=rows,
    )


def _response_cells(who: str, response: Response) -> tuple[str, ...]:
    onset = response.braking_onset_s
    return (
        who,
        f"{response.factual.path_length_m:.2f}",
        f"{response.edited.path_length_m:.2f}",
        f"{response.path_length_change_m:+.2f}",
        f"{response.endpoint_shift_m:.2f}",
        f"{response.lateral_shift_m:+.2f}",
        "never" if onset is None else f"{onset:.1f}",
    )


def _scores(story: Story) -> Section:
    pictures: dict[str, dict[str, str]] = {}
    plans: dict[str, dict[str, str]] = {}
    for score in story.scores:
        table = pictures if score["metric"] in ("PSNR", "SSIM") else plans
        digits = 3 if score["metric"] == "SSIM" else 2
        table.setdefault(score["of"], {"n": str(score["n"]), "until": f"{score.get('until_s', 0):g}"})[
            score["metric"]
        ] = f"{score['value']:.{digits}f}"
    blocks: list[Block] = []
    if pictures:
        rows = [(of, row.get("PSNR", ""), row.get("SSIM", ""), row["n"]) for of, row in pictures.items()]
        blocks.append(
            Table(
                caption="Pictures against the recording: mean over frames and cameras (PSNR: mean of dB). Higher is closer. "
                "Only the future that was driven as logged can be expected to match.",
                head=("video", "PSNR dB", "SSIM", "pictures"),
                rows=rows,
            )
        )
    if plans:
        rows = [(of, row.get("ADE", ""), row.get("FDE", ""), row["until"]) for of, row in plans.items()]
        blocks.append(
            Table(
                caption="Plans (without obstacle) against what was driven: mean and last position error. Lower is closer. "
                "One moment of one clip is an anecdote, not a result.",
                head=("plan", "ADE m", "FDE m", "over s"),
                rows=rows,
            )
        )
    if not blocks:
        blocks.append(Note(text="Nothing follows in the recording, so nothing can be scored."))
    return Section(heading="How close it came", blocks=blocks)


def _paths(run: RunWriter, story: Story) -> None:
    driven = story.moment.driven()
    if driven is not None:
        run.paths["driven"] = driven
    add_town_paths(run, story.town)
    for i, (_, rollout) in enumerate(story.rollouts):
        run.paths[f"imagined-{i + 1}"] = rollout.trajectory
    for pair in story.pairs:
        run.paths[f"plan {pair.planner} without"] = pair.factual.trajectory
        run.paths[f"plan {pair.planner} with"] = pair.edited.trajectory
