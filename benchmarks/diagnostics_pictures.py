"""The pictures of `planner_diagnostics.py`: a figure, and predicted next states beside the true ones."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policy.diagnosis import Subject
from policy.held_out_moments import HeldOutMoment
from policy.planner_config import STATES_S
from policy.probing import Views
from worldmodel.geometry import Array
from worldmodel.tokenizer import Tokenizer

MAIN_M = 1.0
SHOWN = 4  # moments on the sheet
LABEL_PX = 18


def plot(found: dict[str, Any], path: Path) -> None:
    """Shares of vision-critical moments, ADE by stratum, what looking costs and earns, next states."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(13, 10), layout="constrained")
    _shares(axes[0, 0], found)
    _strata(axes[0, 1], found)
    _earned(axes[1, 0], found)
    _states(axes[1, 1], found)
    temporary = path.with_name(f".{path.name}.partial.png")
    figure.savefig(temporary, dpi=100)
    pyplot.close(figure)
    os.replace(temporary, path)


def _shares(axis: Any, found: dict[str, Any]) -> None:
    for name, facts in ({"test scenes": found["gaps"]} | found["data"]).items():
        rows = facts["shares"]
        at, values = [row["threshold_m"] for row in rows], np.array([row["share"] for row in rows])
        line = axis.plot(at, 100 * values, marker="o", label=name)[0]
        if rows[0]["interval"] is not None:
            low, high = zip(*(row["interval"] for row in rows), strict=True)
            axis.fill_between(at, 100 * np.array(low), 100 * np.array(high), alpha=0.2, color=line.get_color())
    axis.set(xlabel="threshold of the ego-status gap, m", ylabel="vision-critical moments, %", ylim=(0, None))
    axis.set_title("How much needs eyes")
    axis.legend()


def _strata(axis: Any, found: dict[str, Any]) -> None:
    rows = [row for row in found["strata"]["rows"] if row["threshold_m"] == MAIN_M]
    rows = sorted(rows, key=lambda row: -row["all"]["value"])
    for stratum, colour in (("dominated", "tab:blue"), ("critical", "tab:red")):
        for place, row in enumerate(rows):
            if row[stratum] is not None:
                axis.plot(row[stratum]["interval"], [place, place], color=colour, alpha=0.5)
                axis.plot(row[stratum]["value"], place, "o", color=colour, label=None if place else stratum)
    axis.set_yticks(range(len(rows)), [row["planner"] for row in rows])
    axis.set(xlabel="ADE over 4 s, m", xlim=(0, None))
    axis.set_title(f"ego-dominated and vision-critical (gap > {MAIN_M:g} m)")
    axis.legend(loc="lower right")


def _earned(axis: Any, found: dict[str, Any]) -> None:
    for stratum, colour, shift in (("dominated", "tab:blue", -0.15), ("critical", "tab:red", 0.15)):
        for place, (_, facts) in enumerate(reversed(found["losses"].items())):
            if stratum in facts["parts"]:
                one = facts["parts"][stratum]["earned"]
                axis.plot(one["interval"], [place + shift] * 2, color=colour, alpha=0.5)
                axis.plot(one["value"], place + shift, "o", color=colour, label=None if place else stratum)
    names = list(reversed(found["losses"]))
    axis.set_yticks(range(len(names)), names)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_xscale("symlog", linthresh=0.1)
    axis.set_xlabel("squared error saved by the moment's own pictures, m2 (left of 0: they cost more than they earn)")
    axis.set_title("What looking earns")
    axis.legend(loc="lower right")


def _states(axis: Any, found: dict[str, Any]) -> None:
    for name, rows in found["diversity"].items():
        axis.plot(
            STATES_S,
            [row["given_unbiased"] for row in rows],
            "k:" if name == "command" else "k-.",
            label=f"floor given {name}",
        )
    for (name, values), style in zip(found["baselines"].items(), ("s", "v", "^", "x"), strict=True):
        axis.plot(STATES_S, values, color="grey", marker=style, linestyle="--", label=name)
    for name, facts in found["states"].items():
        axis.plot(STATES_S, [row["error"] for row in facts["horizons"]], marker="o", label=name)
    axis.set(xlabel="s ahead", ylabel="mean squared error per element of the latents", ylim=(0, None))
    axis.set_xticks(STATES_S)
    axis.set_title("Next visual states")
    axis.legend(fontsize=8, ncols=2)


def sheet(
    subjects: Sequence[Subject], moments: Sequence[HeldOutMoment], views: Views, tokenizer: Tokenizer, path: Path
) -> None:
    """Contact sheet: what is seen now and comes at 1, 2 and 3 s, beside what 'ik' of each mix says, decoded.

    The moments are chosen by rule: at equal steps of the first such planner's error, from the best to the worst.
    """
    from PIL import Image

    chosen = [s for s in subjects if s.config.label == "ik" and s.answers.states is not None]
    if not chosen:
        raise SystemExit("no planner 'ik' among those given: there are no next states to show. Name its folder.")
    first = chosen[0].answers.states
    assert first is not None
    error = ((first - views.states.numpy()) ** 2).mean(axis=(1, 2, 3, 4, 5))
    order = np.argsort(error, kind="stable")[np.linspace(0, len(error) - 1, SHOWN).round().astype(int)]
    strips = [
        strip for row in order for strip in _strips(int(row), chosen, moments, views, tokenizer, float(error[row]))
    ]
    temporary = path.with_name(f".{path.name}.partial.png")
    Image.fromarray(np.concatenate(strips, axis=0)).quantize(256).save(temporary, optimize=True)
    os.replace(temporary, path)


@torch.no_grad()
def _strips(
    row: int,
    chosen: Sequence[Subject],
    moments: Sequence[HeldOutMoment],
    views: Views,
    tokenizer: Tokenizer,
    error: float,
) -> list[Array]:
    """The strips of one moment: a title, the pictures, what the tokenizer keeps of them, what each planner says."""
    moment = moments[row]
    pictures = np.concatenate([moment.seen[-1:], moment.later])
    kept = tokenizer.decode_video(torch.cat([views.now[row : row + 1], views.states[row]]))
    title = f"{moment.scene}, {moment.kind.speed_mps:.0f} m/s, error {error:.2f}: now, then " + ", ".join(
        f"{s:g} s" for s in STATES_S
    )
    strips = [_strip(pictures, title), _strip(kept, "through the tokenizer")]
    for subject in chosen:
        assert subject.answers.states is not None
        said = tokenizer.decode_video(torch.from_numpy(subject.answers.states[row]).float())
        strips.append(_strip(np.concatenate([np.full_like(said[:1], 255), said]), f"said by {subject.name}"))
    return strips


def _strip(video: Array, text: str) -> Array:
    """Moments [time, camera, 3, h, w] side by side, all cameras each, under a line of text."""
    from PIL import Image, ImageDraw

    time, cameras, _, height, width = video.shape
    picture = video.transpose(3, 0, 1, 4, 2).reshape(height, time * cameras * width, 3)
    gap = np.full((height, 4, 3), 255, np.uint8)
    blocks = np.split(picture, time, axis=1)
    joined = np.concatenate([part for block in blocks for part in (block, gap)][:-1], axis=1)
    image = Image.fromarray(joined)
    line = Image.new("RGB", (image.width, LABEL_PX), "white")
    ImageDraw.Draw(line).text((4, 3), text, fill="black")
    return np.concatenate([np.asarray(line), np.asarray(image)], axis=0)
