"""The report of a grounding study: one HTML file with tables, a figure, examples chosen by rule, and how it was done."""

import base64
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from policy.planner import Planner
from studio.eligible import FREE_M, SPEEDS_MPS, Verdict
from studio.html_report import Block, Figure, Note, Section, Table, write_report
from studio.overlays import COLORS, labelled, upscaled, with_path
from studio.study_config import StudyConfig
from studio.study_rows import asked_for, edited_clip, seed_of, seen
from studio.study_summary import REACTION_M, STRONG_M
from worldmodel.geometry import Array
from worldmodel.town.oracle import REACTION_M as BRAKES_M

if TYPE_CHECKING:
    import pyarrow as pa

TILE_PX = 320
TRIPTYCH = ("near", "sky_near")  # beside the picture without
EXAMPLES: dict[str, Callable[[int], int]] = {
    "largest": lambda n: n - 1,
    "median": lambda n: n // 2,
    "smallest": lambda _: 0,
}


def write_study_report(
    path: Path, config: StudyConfig, record: Mapping[str, Any], rows: "pa.Table", planners: Sequence[Planner]
) -> None:
    """Write the report of a finished study.

    Args:
        path: Of the HTML file.
        config: The study.
        record: The content of `study.json`.
        rows: All rows.
        planners: Asked once more for the plans that the examples show.
    """
    summary = record["summary"]
    sections = [
        Section(
            heading="Reactions",
            blocks=[Figure(svg=_intervals(summary["reactions"]), caption=FIGURE), _reactions(summary)],
        ),
        Section(heading="Road against sky, and other contrasts", blocks=[_contrasts(summary), *_strong(summary)]),
        Section(heading="Against the town's own driver", blocks=[_oracle(summary)]),
        Section(heading="Examples", blocks=[EXAMPLES_RULE, *_examples(config, rows, planners)]),
        Section(heading="Moments", blocks=[_moments(summary), *_missing(summary)]),
        Section(heading="How it was done", blocks=[methods(config, summary)]),
    ]
    facts = {"commit": str(record["commit"]), **{name: str(value) for name, value in record["request"].items()}}
    write_report(
        path,
        "Does the driver look at the road?",
        f"{summary['frames']['eligible']} scenes of the town, a {config.kind} put into the past that planners see; the same "
        "seed with and without.",
        sections,
        facts | {name: str(value) for name, value in record["versions"].items()},
    )


FIGURE = "Mean reaction over 4 s with its 95 % interval over scenes, metres."
EXAMPLES_RULE = (
    "For every planner the scenes with its largest, median and smallest reaction to the near object: the newest picture without, "
    "with the object on the road, and with its twin in the sky. Blue: the plan without; orange: with."
)


def methods(config: StudyConfig, summary: Mapping[str, Any]) -> str:
    """A paragraph for a paper, with the study's own numbers."""
    frames = summary["frames"]
    return (
        f"We looked at {frames['scenes']} simulated scenes ({config.split} split) and took from each the first moment, of those "
        f"{', '.join(f'{at_s:g}' for at_s in config.moments_s)} s after its start, at which the ego drove {SPEEDS_MPS[0]:g} to "
        f"{SPEEDS_MPS[1]:g} m/s, no road user or obstacle came within half a lane of its way over the next {FREE_M:g} m, and the "
        f"simulator's own driver, given the same {config.kind} as a real obstacle 12 m ahead, drove more than {BRAKES_M:g} m less "
        f"far in 4 s; {frames['eligible']} scenes had one. The moments were fixed before any planner ran. Into the "
        f"{config.history_s:g} s of multi-camera frames that the planners see we stitched a {config.kind}, still in the world, in "
        f"the variants {', '.join(variant.replace('_', ' ') for variant in config.variants)}; nothing else differs, and both "
        f"plans share their noise. Reaction is the absolute change of the path's length over 4 s, averaged over up to "
        f"{config.samples} paired samples; every scene counts once. Intervals are 95 % percentile bootstraps over scenes; "
        "contrasts are tested by Wilcoxon's signed-rank test, two-sided, and the primary ones (near against sky near, far "
        "against sky far) corrected after Holm over planners times contrasts. All else is exploratory. The scenes are "
        "simulated: nothing here is evidence of safety on real roads."
    )


def _value(value: Mapping[str, Any], form: str = ".2f") -> str:
    text = format(value["mean"], form)
    return text if value["low"] is None else f"{text} [{value['low']:{form}}, {value['high']:{form}}]"


def _reactions(summary: Mapping[str, Any]) -> Table:
    return Table(
        head=("planner", "variant", "scenes", "change, m", "reaction, m", "median, m", f"over {REACTION_M:g} m", f"over {STRONG_M:g} m"),
        rows=[
            (row["planner"], row["variant"], str(row["scenes"]), _value(row["change_m"], "+.2f"), _value(row["reaction_m"]),
             f"{row['median_m']:.2f}", _value(row["over_half_m"], ".0%"), _value(row["over_two_m"], ".0%"))
            for row in summary["reactions"]
        ],
    )  # fmt: skip


def _contrasts(summary: Mapping[str, Any]) -> Table:
    return Table(
        head=("planner", "contrast", "scenes", "difference of reactions, m", "larger in", "p", "p (Holm)"),
        rows=[
            (row["planner"], f"{row['larger']} - {row['smaller']}{'' if row['primary'] else ' (exploratory)'}",
             str(row["scenes"]), _value(row["difference_m"], "+.2f"), f"{row['share_larger']:.0%}", f"{row['p']:.2g}",
             f"{row['p_holm']:.2g}" if row["primary"] else "")
            for row in summary["contrasts"]
        ],
    )  # fmt: skip


def _strong(summary: Mapping[str, Any]) -> list[Block]:
    """What else happens where the near object slows a planner down a lot."""
    return [
        f"{row['planner']}: in the {row['scenes']} scenes in which the near object shortens its path by more than "
        f"{STRONG_M:g} m, it hardly reacts (below {REACTION_M:g} m) to "
        + ", ".join(
            f"{variant.replace('_', ' ')} in {share:.0%}" for variant, share in row["share_below_half_m"].items()
        )
        + "."
        for row in summary["given_strong"]
    ]


def _oracle(summary: Mapping[str, Any]) -> Table:
    return Table(
        head=("planner", "scenes", "the driver's change, m", "planner's minus driver's, m", "distance, m"),
        rows=[
            (row["planner"], str(row["scenes"]), f"{row['oracle_m']:+.2f}", _value(row["less_braking_m"], "+.2f"),
             _value(row["distance_m"]))
            for row in summary["oracle"]
        ],
        caption="For the near object, which the town's driver meets for real.",
    )  # fmt: skip


def _moments(summary: Mapping[str, Any]) -> Table:
    rows = [(reason, str(count)) for reason, count in summary["frames"]["moments"].items()]
    return Table(
        head=("moments", "count"), rows=rows, caption="Judged in order, up to the first eligible one of a scene."
    )


def _missing(summary: Mapping[str, Any]) -> list[Block]:
    return [
        Note(text=f"{row['planner']}, {row['variant']}: no answer in {row['count']} scenes ({row['why']}).")
        for row in summary["failed"]
    ]


def _intervals(reactions: Sequence[Mapping[str, Any]]) -> str:
    """A dot with its interval per planner and variant, on one axis in metres."""
    top = max([1.0, *(row["reaction_m"]["high"] or row["reaction_m"]["mean"] for row in reactions)])
    left, width, step = 30.0, 62.0, 3.0

    def at(metres: float) -> float:
        return float(left + width * metres / top)

    height = step * len(reactions) + 4
    parts = [
        f'<line class="grid" x1="{at(m):.2f}" x2="{at(m):.2f}" y1="0" y2="{height - 3:.1f}"/>'
        f'<text class="tick" x="{at(m):.2f}" y="{height - 1:.1f}" text-anchor="middle">{m:.2g}</text>'
        for m in np.linspace(0.0, top, 5)
    ]
    for number, row in enumerate(reactions):
        y, value = step * number + 2, row["reaction_m"]
        low, high = (value["mean"] if end is None else end for end in (value["low"], value["high"]))
        name = escape(f"{row['planner']}, {row['variant'].replace('_', ' ')}")
        parts.append(
            f'<text class="tick" x="{left - 1}" y="{y + 0.5}" text-anchor="end">{name}</text>'
            f'<line x1="{at(low):.2f}" x2="{at(high):.2f}" y1="{y}" y2="{y}" stroke="{COLORS["before"]}" stroke-width="0.4"/>'
            f'<circle cx="{at(value["mean"]):.2f}" cy="{y}" r="0.6" fill="{COLORS["after"]}"/>'
        )
    return (
        f'<svg viewBox="0 0 100 {height:.1f}" role="img" aria-label="{escape(FIGURE)}" '
        f'style="width:100%;height:auto">{"".join(parts)}</svg>'
    )


def _examples(config: StudyConfig, rows: "pa.Table", planners: Sequence[Planner]) -> list[Block]:
    blocks: list[Block] = []
    for planner in planners:
        scenes = _ordered(rows, planner.name)
        for rule, place in EXAMPLES.items():
            if scenes:
                row, reaction = scenes[place(len(scenes))]
                caption = f"{planner.name}, {rule} reaction: {reaction:.2f} m ({row['scene']} at {row['at_s']:g} s)"
                blocks.append(Figure(svg=_svg_of(_triptych(config, row, planner), caption), caption=caption))
    return blocks


def _ordered(rows: "pa.Table", planner: str) -> list[tuple[dict[str, Any], float]]:
    """A row of each scene with a planner's reaction to the near object, smallest first."""
    found: dict[str, tuple[dict[str, Any], list[float]]] = {}
    for row in rows.to_pylist():
        if (row["planner"], row["variant"]) == (planner, "near") and row["change_m"] is not None:
            found.setdefault(row["scene"], (row, []))[1].append(row["change_m"])
    return sorted(
        ((row, abs(float(np.mean(all_)))) for row, all_ in found.values()), key=lambda one: (one[1], one[0]["scene"])
    )


def _triptych(config: StudyConfig, row: Mapping[str, Any], planner: Planner) -> UInt8[Array, "3 h w"]:
    """The newest front picture without, near and in the sky, with the plans drawn on it."""
    from worldmodel.town.traffic import simulate

    at_s = row["at_s"]
    scene = simulate(row["situation"], row["seed"], seconds=at_s + 1.0, frequency_hz=config.frequency_hz)
    found = Verdict(scene=scene.id, at_s=at_s, reason="eligible", speed_mps=row["speed_mps"])
    clip, depth = seen(config, scene, at_s)
    now_s, seed = (len(clip) - 1) / config.frequency_hz, seed_of(config, scene)
    c = clip.rig.index("front")
    camera = clip.rig.cameras[c].scaled(TILE_PX, round(TILE_PX * config.height_px / config.width_px))
    before = asked_for(planner, clip.observation(now_s, config.history_s), seed)
    tiles = []
    for variant in ("empty", *TRIPTYCH):
        edited = edited_clip(config, scene, found, clip, depth, variant, now_s)
        shown = clip if isinstance(edited, str) else edited.clip
        picture = upscaled(shown.video[-1, c], camera.width_px, camera.height_px)
        after = asked_for(planner, shown.observation(now_s, config.history_s), seed)
        for plan, color in ((before, COLORS["before"]), (after, COLORS["after"])):
            if not isinstance(plan, str) and (variant != "empty" or plan is before):
                picture = with_path(picture, camera, plan.trajectory.poses[:, :2], color)
        tiles.append(labelled(picture, "without" if variant == "empty" else variant.replace("_", " ")))
    return np.concatenate(tiles, axis=2)


def _svg_of(picture: UInt8[Array, "3 h w"], label: str) -> str:
    """A picture inside the file."""
    from PIL import Image

    data = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(data, format="PNG")
    height, width = picture.shape[1:]
    encoded = base64.b64encode(data.getvalue()).decode("ascii")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" style="width:100%;height:auto">'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{encoded}"/></svg>'
    )
