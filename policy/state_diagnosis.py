"""How well planners predict what they will see, against what needs no looking, and whether it matters to their plans."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from eval_fid_fvd.diversity import Diversity, Spread, commands, diversity, merged, spreads, told_groups
from eval_fid_fvd.loss_parts import conditional_parts
from eval_fid_fvd.next_states import (
    against_floor,
    baseline_errors,
    plan_link,
    skill,
    state_cosines,
    state_errors,
)
from eval_fid_fvd.strata import critical_shares, gap_summary
from policy.diagnosis import Subject, ade_m, error_at_m
from policy.planner_config import STATES_S, PlannerConfig
from policy.probing import Views, target_states
from policy.training.labels import Label, known_motion, labels_of
from worldmodel.geometry import Array
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.training.store import Store

COMMAND_AT_S = 3.0
LINKS_S = (1.0, 2.0, 3.0)


def commands_of(truth: Array) -> Array:
    """The command of moments by where they lead after 3 s."""
    return commands(truth[:, int(np.argmin(np.abs(PLAN_TIMES_S - COMMAND_AT_S))), :2])


def told_of(truth: Array, steps: Array) -> Array:
    """Command, speed and yaw rate in bins: a finer proxy of all that is told."""
    return told_groups(commands_of(truth), np.hypot(steps[:, -1, 0], steps[:, -1, 1]), steps[:, -1, 2])


def diversity_facts(views: Views) -> dict[str, Any]:
    """Diversity of the next states of moments at 1, 2 and 3 s, given the command and given more."""
    groups = {"command": commands_of(views.truth), "command, speed, yaw rate": told_of(views.truth, views.steps)}
    return {
        name: [
            as_facts(diversity(spreads(views.states[:, i].numpy(), labels)), at_s) for i, at_s in enumerate(STATES_S)
        ]
        for name, labels in groups.items()
    }


def as_facts(found: Diversity, at_s: float) -> dict[str, Any]:
    """Plain values of a diversity."""
    return {"at_s": at_s, "moments": found.moments, "explained": found.explained} | asdict(found)


def store_facts(
    stores: Sequence[Store], latents: Sequence[Array], config: PlannerConfig, generator: np.random.Generator
) -> dict[str, Any]:
    """Ego-status gaps and diversity of the next states (given the command) of all frames that planners can learn from.

    Args:
        latents: Of every store [clip, time, camera, channel, h, w]; read clip by clip.
    """
    pairs = [(store, values, clip) for store, values in zip(stores, latents, strict=True) for clip in range(len(store))]
    gaps: list[float] = []
    clips: list[int] = []
    parts: list[list[dict[str, Spread]]] = []
    for number, (store, values, clip) in enumerate(pairs):
        labels = labels_of(known_motion(store, clip), range(1, values.shape[1])) if store.expert[clip] else {}
        gaps += [label.gap_m for label in labels.values()]
        clips += [number] * len(labels)
        parts.append(_clip_spreads(labels, values[clip], config))
    return {
        "clips": len(set(clips)),
        "summary": gap_summary(np.array(gaps)),
        "shares": critical_shares(np.array(gaps), clips, generator),
        "diversity": [
            as_facts(diversity(merged([part[i] for part in parts])), at_s) for i, at_s in enumerate(STATES_S)
        ],
    }


def _clip_spreads(labels: Mapping[int, Label], latents: Array, config: PlannerConfig) -> list[dict[str, Spread]]:
    """Of one clip, per horizon: spreads by command of the states that far ahead of its labelled frames."""
    found = []
    for at_s in STATES_S:
        ahead = round(at_s * config.frequency_hz)
        frames = [frame for frame in labels if frame + ahead < len(latents)]
        truth = np.array([labels[frame].poses for frame in frames])
        found.append(spreads(latents[[f + ahead for f in frames]], commands_of(truth)) if frames else {})
    return found


def baselines_of(views: Views) -> dict[str, Array]:
    """Errors [n, state] of what needs no training."""
    told = views.steps.reshape(len(views), -1)
    return baseline_errors(views.states.numpy(), views.now.numpy(), told, commands_of(views.truth))


def state_facts(
    subject: Subject,
    views: Views,
    baselines: dict[str, Array],
    floors: dict[str, list[float]],
    generator: np.random.Generator,
) -> dict[str, Any] | None:
    """How well one planner predicts the states at 1, 2 and 3 s; None for a planner that predicts none of them.

    Args:
        floors: Diversity given what is told, one per state, by what is told.
    """
    answers = subject.answers
    if answers.states is None or answers.swapped_states is None or subject.config.state_frames == (0,):
        return None
    target = target_states(subject.config, views).numpy()
    errors, cosines = state_errors(answers.states, target), state_cosines(answers.states, target)
    elsewhere = state_errors(answers.swapped_states, target)
    groups = commands_of(views.truth)
    return {
        "horizons": [
            {
                "at_s": at_s,
                "error": float(errors[:, i].mean()),
                "cosine": float(cosines[:, i].mean()),
                "other_pictures": float(elsewhere[:, i].mean()),
                "floors": {name: against_floor(errors[:, i], values[i]) for name, values in floors.items()},
                "skill": {name: skill(errors[:, i], rows[:, i], generator) for name, rows in baselines.items()},
                "parts": asdict(conditional_parts(answers.states[:, i], target[:, i], groups)),
            }
            for i, at_s in enumerate(STATES_S)
        ],
        "error": errors.tolist(),
    }


def link_facts(subject: Subject, views: Views, gaps: Array) -> dict[str, Any] | None:
    """Next-state error against plan error, moment by moment; None for a planner without states.

    For 'ik-current' the state error is that of its reconstruction of the present picture.
    """
    answers = subject.answers
    if answers.states is None:
        return None
    target = target_states(subject.config, views).numpy()
    error, cosine = (
        state_errors(answers.states, target).mean(axis=1),
        state_cosines(answers.states, target).mean(axis=1),
    )
    plans = {f"{at_s:g} s": error_at_m(answers.plans, views.truth, at_s) for at_s in LINKS_S}
    plans["mean"] = ade_m(answers.plans, views.truth)
    return {
        "error": float(error.mean()),
        "cosine": float(cosine.mean()),
        "by_error": {name: plan_link(error, plan, gaps) for name, plan in plans.items()},
        "by_cosine": {name: plan_link(cosine, plan, gaps) for name, plan in plans.items()},
    }
