"""What a study's report says in words: the paragraph for a paper, and what the study cannot tell."""

from collections.abc import Mapping
from typing import Any

from studio.eligible import FREE_M, LANE_HALF_M, SPEEDS_MPS
from studio.study_config import StudyConfig
from studio.study_things import swept_things
from worldmodel.town.oracle import REACTION_M as BRAKES_M


def lead(config: StudyConfig, summary: Mapping[str, Any]) -> str:
    """One sentence below the title."""
    where = f"stretches of '{config.dataset}'" if config.dataset else "scenes of the town"
    return f"{summary['frames']['eligible']} {where}, a {config.kind} put into the past that planners see; the same seed with and without."


def methods(config: StudyConfig, summary: Mapping[str, Any]) -> str:
    """A paragraph for a paper, with the study's own numbers."""
    return " ".join((_frames(config, summary), _edits(config, summary), _statistics(config)))


def _frames(config: StudyConfig, summary: Mapping[str, Any]) -> str:
    frames = summary["frames"]
    moments = ", ".join(f"{at_s:g}" for at_s in config.moments_s)
    speeds = f"the ego drove {SPEEDS_MPS[0]:g} to {SPEEDS_MPS[1]:g} m/s"
    if config.dataset:
        labels = (
            f"no labelled box came within {LANE_HALF_M:g} m of the driven path over the next {FREE_M:g} m (straight on where the "
            "recording ends)" + (", where boxes were labelled" if config.without_boxes else "")
        )
        return (
            f"We looked at {frames['scenes']} stretches of {config.stretch_s:g} s of recordings and took from each the first moment, of "
            f"those {moments} s after its start, at which {speeds} and {labels}; {frames['eligible']} stretches had one. What the driver "
            "would have done is not known. The moments were fixed before any planner ran."
        )
    return (
        f"We looked at {frames['scenes']} simulated scenes ({config.split} split) and took from each the first moment, of those "
        f"{moments} s after its start, at which {speeds}, no road user or obstacle came within half a lane of its way over the next "
        f"{FREE_M:g} m, and the simulator's own driver, given the same {config.kind} as a real obstacle 12 m ahead, drove more than "
        f"{BRAKES_M:g} m less far in 4 s; {frames['eligible']} scenes had one. The moments were fixed before any planner ran."
    )


def _edits(config: StudyConfig, summary: Mapping[str, Any]) -> str:
    swept = swept_things(config)
    more = (
        f" One scene in {config.sweep_every} was also edited with the object {', '.join(thing.label for thing in swept)}."
        if swept
        else ""
    )
    missing = sum(row["count"] for row in summary["failed"])
    return (
        f"Into the frames that the planners see (up to {config.history_s:g} s, all cameras) we stitched a {config.kind}, still in the "
        f"world, in the variants {', '.join(name.replace('_', ' ') for name in config.variants)}; nothing else differs, and both plans "
        f"share their noise.{more} {missing} answers are missing and were left out."
    )


def _statistics(config: StudyConfig) -> str:
    primary = ", ".join(f"{a} against {b}".replace("_", " ") for a, b in config.primary)
    return (
        f"Reaction is the absolute change of the path's length over 4 s, averaged over up to {config.samples} paired samples; every "
        "scene counts once. Intervals are 95 % percentile bootstraps over scenes; contrasts are tested by Wilcoxon's signed-rank test, "
        f"two-sided; the primary ones ({primary}), named before the run, are corrected after Holm over planners times contrasts, and "
        "the comparisons between planners among themselves. All else is exploratory."
    )


def limits(config: StudyConfig) -> list[str]:
    """What the study cannot tell."""
    said = [
        "An object in the sky is not only in the wrong place, it is also nothing that exists: a planner may pass it over because it "
        "is unlike anything in training. The lookalike beside the road and the sweep over distances are checks on that.",
        "A reaction is a difference of plans, not of drives: nothing was driven here. A change of the path's length is blind to "
        "evading at the same speed, which is why sideways moves are listed apart.",
        "Pasted objects cast a contact shadow and are matched in colour, blur and noise, but carry no light of the scene.",
    ]
    if config.dataset:
        said.append(
            "In recordings nobody knows what the driver would have done, occlusion is known from labelled boxes only, and stretches "
            "of one drive are not independent, so intervals are too narrow."
        )
    else:
        said.append(
            "The scenes are simulated, and the planners were trained on such scenes. Research tool; no evidence of road safety."
        )
    return said
