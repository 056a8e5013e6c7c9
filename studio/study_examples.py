"""Examples of a study, chosen by a rule: the newest front picture without, near and in the sky, and the plans from above."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO

import numpy as np
from jaxtyping import UInt8

from policy.planner import Planner
from studio.eligible import Verdict
from studio.html_report import Figure
from studio.overlays import COLORS, upscaled
from studio.placement import NEAR_M
from studio.study_cases import Case, cases_of
from studio.study_config import StudyConfig
from studio.study_eyes import history_s, longest_history_s
from studio.study_figures import STYLE, line
from studio.study_rows import asked_for, edited_clip, seed_of
from studio.study_things import Thing
from studio.study_values import Value
from worldmodel.geometry import Array
from worldmodel.plans import Plan

TILE = (320, 160)  # width and height
RULES = ("best", "median", "worst")
ABOVE_M = 44.0  # how far ahead the view from above reaches
LETTERS = "font:600 19px system-ui,'Liberation Sans',sans-serif"


def chosen(scenes: Mapping[str, Value]) -> dict[str, tuple[str, str]]:
    """Scene and number per rule: the smallest, median and largest distance to the town driver's change by the near object.

    Where nobody knows that: the largest, median and smallest reaction.
    """
    known = {name: value.oracle_m for name, value in scenes.items() if value.oracle_m is not None}
    if known:
        off = {name: abs(scenes[name].change_m - driver) for name, driver in known.items()}
        ordered = sorted(off, key=lambda name: (off[name], name))
        said = {name: f"{scenes[name].change_m:+.1f} m, the town's driver {known[name]:+.1f} m" for name in ordered}
    else:
        ordered = sorted(scenes, key=lambda name: (-scenes[name].size_m, name))
        said = {name: f"{scenes[name].change_m:+.1f} m" for name in ordered}
    places = (0, len(ordered) // 2, len(ordered) - 1)
    return {rule: (ordered[at], said[ordered[at]]) for rule, at in zip(RULES, places, strict=True)} if ordered else {}


def examples(
    config: StudyConfig,
    planners: Sequence[Planner],
    answers: Mapping[tuple[str, str], Mapping[str, Value]],
    verdicts: Mapping[str, tuple[Verdict, ...]],
    shown: Sequence[str],
) -> list[Figure]:
    """The examples of the planners that are to be shown; their plans are asked for once more."""
    source = cases_of(config, longest_history_s(planners, config))
    figures = []
    for planner in planners:
        if planner.name in shown:
            for rule, (scene, said) in chosen(answers.get((planner.name, "near"), {})).items():
                case = source.found(source.names.index(scene), verdicts).case
                if case is not None:
                    caption = f"{planner.name}, {rule}: {said} ({scene} at {case.found.at_s:g} s)"
                    figures.append(Figure(svg=_drawn(config, case, planner, caption), caption=caption))
    return figures


def _drawn(config: StudyConfig, case: Case, planner: Planner, label: str) -> str:
    """Three pictures and the view from above, two by two."""
    width, height = TILE
    seed = seed_of(config, case.scene)
    plans: dict[str, Plan | str] = {}
    tiles = []
    for name in ("without", "near", "sky near"):
        clip = case.clip
        if name != "without":
            variant = name.replace(" ", "_")
            edited = edited_clip(config, case, Thing(label=variant, variant=variant))
            clip = case.clip if isinstance(edited, str) else edited.clip
        seen = clip.observation(case.now_s, min(history_s(planner, config), len(clip) / clip.frequency_hz))
        plans[name] = asked_for(planner, seen, seed)
        camera = clip.rig.index("front") if "front" in clip.rig.names else 0
        tiles.append(upscaled(clip.video[-1, camera], width, height))
    parts = [_tile(tile, k) for k, tile in enumerate(tiles)]
    parts += [_label(name, k) for k, name in enumerate(plans)]
    parts.append(f'<g transform="translate({width + 8} {height + 8})">{_from_above(case, plans)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width + 8} {2 * height + 8}" role="img" '
        f'aria-label="{escape(label)}" style="width:100%;height:auto">{STYLE}{"".join(parts)}</svg>'
    )


def _place(k: int) -> tuple[int, int]:
    return (k % 2) * (TILE[0] + 8), (k // 2) * (TILE[1] + 8)


def _tile(picture: UInt8[Array, "3 h w"], k: int) -> str:
    from PIL import Image

    data = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(data, format="JPEG", quality=88)
    encoded = base64.b64encode(data.getvalue()).decode("ascii")
    x, y = _place(k)
    return f'<image x="{x}" y="{y}" width="{TILE[0]}" height="{TILE[1]}" href="data:image/jpeg;base64,{encoded}"/>'


def _label(words: str, k: int) -> str:
    x, y = _place(k)
    wide = 12 * len(words) + 14
    return (
        f'<rect x="{x}" y="{y}" width="{wide}" height="28" fill="#000" opacity="0.6"/>'
        f'<text x="{x + 7}" y="{y + 21}" style="{LETTERS};fill:#fff">{escape(words)}</text>'
    )


PATHS = {  # of the view from above: colour, broken or not
    "without": (COLORS["before"], False),
    "near": (COLORS["after"], False),
    "sky near": (COLORS["other"], True),
    "driver": (COLORS["town"], True),
}


def _from_above(case: Case, plans: Mapping[str, Plan | str]) -> str:
    """Forward is to the right, left is up; a line each 10 m, the bar is the near object."""
    width, height = TILE
    scale = width / ABOVE_M
    paths = {name: plan.trajectory.poses[:, :2] for name, plan in plans.items() if not isinstance(plan, str)}
    answer = None if case.truth is None else case.truth(Thing(label="near", variant="near"))
    if answer is not None:
        paths["driver"] = answer.response.edited.trajectory.poses[:, :2]

    def at(point: Array) -> tuple[float, float]:
        return (4 + scale * float(point[0]), height / 2 + 12 - scale * float(point[1]))

    parts = [line(at(np.array([x, 0]))[0], 30, at(np.array([x, 0]))[0], height) for x in range(0, int(ABOVE_M), 10)]
    x, y = at(np.array([NEAR_M, 0.0]))
    parts.append(f'<rect x="{x:.1f}" y="{y - scale:.1f}" width="6" height="{2 * scale:.1f}" fill="#c2262e"/>')
    for k, (name, points) in enumerate(paths.items()):
        color, broken = PATHS[name]
        dash = ' stroke-dasharray="7 5"' if broken else ""
        line_of = " ".join(f"{a:.1f},{b:.1f}" for a, b in [at(np.zeros(2)), *(at(point) for point in points)])
        end = at(points[-1])
        parts.append(f'<polyline points="{line_of}" fill="none" stroke="{color}" stroke-width="{5 - k}"{dash}/>')
        parts.append(f'<circle cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="{6 - k}" fill="{color}"/>')
    shown = (("without", 2), ("near", 88), ("sky near", 146), ("driver", 248))
    parts += [
        f'<text x="{x0}" y="19" style="{LETTERS};fill:{PATHS[name][0]}">{escape(name)}</text>'
        for name, x0 in shown
        if name in paths
    ]
    return f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" overflow="hidden">{"".join(parts)}</svg>'
