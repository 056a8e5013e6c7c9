"""How well does the town's expert drive? At-fault collisions, leaving the road, progress and red lights, per situation.

Collisions are blamed by NAVSIM's rule (the ego moves and touches with its front, or somebody who stands, or with its
side while it is not in one lane). The town stops dead whoever would drive into somebody; that counts as the ego's fault
when it happens to the ego. Free flow is the same scene with the ego alone and no gates. Nothing blocks a scene when
nobody is within `REACH_M` ahead on the route, and no line, signal or used zebra lies on the stretch that free flow reaches.

    uv run python benchmarks/town_expert.py --scenes 308 --out expert.md
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np

from eval_fid_fvd.contacts import contacts
from eval_fid_fvd.footprints import LaneMap, Placement
from eval_fid_fvd.rules import red_lights
from worldmodel.geometry import Array
from worldmodel.town.drivers.gates import Gates
from worldmodel.town.scene import EGO_BODY, Scene
from worldmodel.town.situations import MEMORIES
from worldmodel.town.traffic import SITUATIONS, TICKS_HZ, Simulation

FIRST_SEED = 2_000_000  # of the range for tests
SECONDS = 10.0
MEMORY_SECONDS = 45.0
REACH_M = 50.0  # somebody this close ahead on the route is reason to slow
ASIDE_M = 2.6  # and this close to the side of it
Z95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Drive:
    """One scene, judged.

    Attributes:
        progress: Metres driven over those of free flow; NaN where something blocks.
    """

    situation: str
    seed: int
    collides: bool
    leaves_road: bool
    runs_red: bool
    progress: float


def judge(situation: str, seed: int, seconds: float) -> Drive:
    """Let the expert drive a scene, and the same one alone."""
    simulation = Simulation(situation, seed)
    for _ in range(round((seconds - 1 / 8) * TICKS_HZ)):
        simulation.step()
    scene = simulation.scene(seconds)
    crashed = any(track == EGO_BODY.track for track, _ in simulation.crowd.crashes)
    placement = Placement.of(scene.ego_poses, LaneMap.of(scene.stage))
    alone, gates_s = free_flow(situation, seed, seconds)
    return Drive(
        situation=situation,
        seed=seed,
        collides=crashed or any(contact.at_fault for contact in contacts(scene, placement)),
        leaves_road=bool(placement.off_road.any()),
        runs_red=bool(red_lights(scene)),
        progress=float("nan") if blocked(scene, alone, gates_s) else driven_m(scene) / max(driven_m(alone), 0.1),
    )


def free_flow(situation: str, seed: int, seconds: float) -> tuple[Scene, list[float]]:
    """The scene with the ego alone and no gates; and where on the route the gates are, metres."""
    simulation = Simulation(situation, seed)
    for agent in simulation.crowd.agents[1:]:
        agent.present = False
    road = simulation.road
    simulation.crowd.gates = Gates(replace(road, gates={}, programme=None))
    simulation.crowd.decide(0.0)
    used = {agent.zebra for agent in simulation.crowd.agents}
    gates = [
        gate.s_m
        for gate in road.gates.get(simulation.crowd.agents[0].route, ())
        if gate.kind != "crosswalk" or gate.number in used
    ]
    states = simulation.crowd.gates.states
    simulation.crowd.gates.states = states or (0,) * len(road.signals)
    for _ in range(round((seconds - 1 / 8) * TICKS_HZ)):
        simulation.step()
    return simulation.scene(seconds), gates


def blocked(scene: Scene, alone: Scene, gates_s: Sequence[float]) -> bool:
    """Whether somebody or a gate is ahead on the stretch of route that free flow reaches."""
    end = alone.route_s[-1] + REACH_M / 2
    if any(scene.route_s[0] - 5.0 < s < end for s in gates_s):
        return True
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(scene.route, axis=0).T))])
    for frame in range(0, len(scene), 2):
        s = scene.route_s[frame]
        piece = scene.route[(along > s - 2.0) & (along < s + REACH_M)]
        others = scene.body_present[frame]
        if len(piece) and (apart(scene.body_poses[frame, others], piece) < ASIDE_M).any():
            return True
    return False


def apart(poses: Array, line: Array) -> Array:
    """Smallest distance of each pose from the points of a line, metres."""
    return np.asarray(np.hypot(poses[:, None, 0] - line[:, 0], poses[:, None, 1] - line[:, 1]).min(axis=1, initial=1e9))


def driven_m(scene: Scene) -> float:
    """Length of the ego's way."""
    return float(np.hypot(*np.diff(scene.ego_poses[:, :2], axis=0).T).sum())


def wilson(hits: int, count: int) -> str:
    """A share in percent with its 95 % interval (Wilson, 1927)."""
    if not count:
        return "-"
    share, spread = hits / count, Z95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 * sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return f"{100 * share:.1f} ({100 * max(middle - half, 0.0):.0f}-{100 * (middle + half):.0f})"


def row(name: str, drives: Sequence[Drive]) -> str:
    """A line of the table."""
    count = len(drives)
    free = [drive.progress for drive in drives if not np.isnan(drive.progress)]
    fine = sum(not drive.collides and not drive.leaves_road for drive in drives)
    cells = [
        name,
        str(count),
        wilson(fine, count),
        wilson(sum(not drive.collides for drive in drives), count),
        wilson(sum(not drive.leaves_road for drive in drives), count),
        f"{100 * np.mean(free):.0f} (min {100 * min(free):.0f}, n={len(free)})" if free else "-",
        wilson(sum(drive.runs_red for drive in drives), count),
    ]
    return "| " + " | ".join(cells) + " |"


def table(drives: Sequence[Drive]) -> str:
    """Markdown, one line per situation and one for all."""
    head = (
        "situation",
        "scenes",
        "fine %",
        "no at-fault collision %",
        "on road %",
        "progress over free flow %",
        "red %",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [
        row(name, mine) for name in SITUATIONS if (mine := [drive for drive in drives if drive.situation == name])
    ]
    return "\n".join([*lines, row("all", drives)])


def main() -> None:
    """Print the table; name the scenes that went wrong on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=308)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--situations", nargs="*", default=list(SITUATIONS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    drives = []
    for number in range(args.scenes):
        name, seed = args.situations[number % len(args.situations)], args.first_seed + number // len(args.situations)
        drive = judge(name, seed, MEMORY_SECONDS if name in MEMORIES else SECONDS)
        drives.append(drive)
        if drive.collides or drive.leaves_road or drive.runs_red or drive.progress < 0.8:
            print(drive, file=sys.stderr)
    text = table(drives)
    print(text)
    if args.out is not None:
        partial = args.out.with_suffix(".part")
        partial.write_text(text + "\n")
        partial.replace(args.out)


if __name__ == "__main__":
    main()
