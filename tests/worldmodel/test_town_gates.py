"""Where one waits in the town: gates before conflicts, lines where gates are, signals that never contradict."""

import numpy as np
import pytest
from town_roads import road

from worldmodel.geometry import wrap_angle
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import Programme
from worldmodel.town.roads.waits import Wait, gates_along
from worldmodel.town.scene import AMBER, GREEN, RED


def test_gates_lie_where_a_route_passes_a_place_and_on_every_pass() -> None:
    angle = np.linspace(0, 4 * np.pi, 600)
    ring = Path(20 * np.stack([np.cos(angle), np.sin(angle)], axis=-1))
    places = [Wait(pose=(0.0, 20.0, np.pi), kind="yield"), Wait(pose=(0.0, -20.0, np.pi), kind="stop")]
    gates = gates_along(ring, places)
    assert [gate.kind for gate in gates] == ["yield", "yield"]  # the other place is for those who come the other way
    assert gates[0].s_m == pytest.approx(10 * np.pi, abs=0.5)
    assert gates[1].s_m == pytest.approx(50 * np.pi, abs=0.8)


def conflict_s(path: Path, other: Path) -> float:
    """Where a path first comes close to another one that it crosses."""
    d = np.hypot(*(path.points[::2, None] - other.points[None, ::2]).transpose(2, 0, 1))
    nearest = d.argmin(axis=1)
    angle = np.abs(wrap_angle(path.headings[::2] - other.headings[::2][nearest]))
    hits = np.flatnonzero((d.min(axis=1) < 2.5) & (angle > 0.3) & (angle < 2.8))
    return float(hits[0] * 2 * path.step_m) if len(hits) else np.inf


@pytest.mark.parametrize("kind", ["signals", "intersection", "roundabout"])
def test_gates_lie_before_the_conflict(kind: str) -> None:
    for seed in range(5):
        scene = road(kind, seed)
        for name, gates in scene.gates.items():
            entry = [gate for gate in gates if gate.kind in ("signal", "stop", "yield")]
            path = scene.routes[name]
            crossed = min(conflict_s(path, other) for key, other in scene.routes.items() if key[0] != name[0])
            for gate in entry[:1]:
                assert 0 < gate.s_m < crossed + 0.5, (seed, name)


def test_the_ego_can_stop_at_its_first_gate() -> None:
    for kind in ("signals", "intersection", "roundabout", "crossing"):
        for seed in range(8):
            scene = road(kind, seed)
            for gate in scene.gates.get("ego", ()):
                assert gate.s_m - scene.start_s > 3.7 + 8.0**2 / (2 * 4.0), (kind, seed)


@pytest.mark.parametrize("kind", ["signals", "intersection"])
def test_every_line_on_the_ground_belongs_to_a_gate(kind: str) -> None:
    for seed in range(5):
        scene = road(kind, seed)
        for line in scene.stop_lines:
            names = [
                name
                for name, gates in scene.gates.items()
                for gate in gates
                if np.hypot(*(np.array(scene.routes[name].at(gate.s_m)[:2]) - (line.x_m, line.y_m))) < 0.3
            ]
            assert names
            assert line.width_m == scene.width_m


def test_gates_of_crosswalks_lie_before_the_stripes() -> None:
    count = 0
    for kind in ("crossing", "signals", "intersection", "roundabout"):
        for seed in range(6):
            scene = road(kind, seed)
            for name, gates in scene.gates.items():
                for gate in (gate for gate in gates if gate.kind == "crosswalk"):
                    zebra, path = scene.crosswalks[gate.number], scene.routes[name]
                    x, y, _ = path.at(gate.s_m + zebra.length_m / 2 + 1.0)
                    u = np.array([np.cos(zebra.yaw_rad), np.sin(zebra.yaw_rad)])
                    offset = np.array([x - zebra.x_m, y - zebra.y_m])
                    assert abs(offset @ u) < zebra.length_m / 2 + 0.6, (kind, seed, name)
                    assert abs(offset @ (-u[1], u[0])) < zebra.width_m / 2
                    count += 1
    assert count > 50


def test_zebra_crosswalks_reach_from_kerb_to_kerb() -> None:
    scene = road("crossing", 0)
    (zebra,) = scene.crosswalks
    for side in (1, -1):
        edge = np.array([zebra.x_m, zebra.y_m]) + side * zebra.width_m / 2 * np.array(
            [-np.sin(zebra.yaw_rad), np.cos(zebra.yaw_rad)]
        )
        gap = min(abs(np.hypot(*(lane.centre - edge).T).min() - lane.width_m / 2) for lane in scene.lanes)
        assert gap < 0.15


# -- signals ------------------------------------------------------------------------------------------------------


def test_signals_never_show_green_to_two_crossing_streets() -> None:
    for seed in range(5):
        scene = road("signals", seed)
        assert scene.programme is not None
        groups = np.array(scene.programme.groups)
        assert len(groups) == len(scene.signals)
        for time_s in np.arange(0.0, 70.0, 0.25):
            states = np.array(scene.programme.states(float(time_s)))
            going = set(groups[states != RED])
            assert len(going) <= 1
            assert all(len(set(states[groups == group])) == 1 for group in set(groups))


def test_signals_go_from_green_to_amber_to_red() -> None:
    programme = Programme(groups=(0, 1), green_s=6.0, amber_s=3.0, clear_s=2.0)
    assert programme.states(0.0) == (GREEN, RED)
    assert programme.states(6.5) == (AMBER, RED)
    assert programme.states(10.0) == (RED, RED)
    assert programme.states(11.5) == (RED, GREEN)
    assert programme.states(22.0) == programme.states(0.0)


def test_the_signal_of_a_gate_faces_the_traffic_that_it_is_for() -> None:
    for seed in range(5):
        scene = road("signals", seed)
        for name, gates in scene.gates.items():
            (gate,) = [gate for gate in gates if gate.kind == "signal"]
            signal = scene.signals[gate.number]
            x, y, yaw = scene.routes[name].at(gate.s_m)
            assert abs(wrap_angle(signal.yaw_rad - yaw)) < 0.1
            right = (signal.x_m - x) * np.sin(yaw) - (signal.y_m - y) * np.cos(yaw)
            assert scene.width_m / 2 < right < scene.width_m / 2 + 2.0


def test_signals_stand_beside_the_lanes() -> None:
    for seed in range(5):
        scene = road("signals", seed)
        for signal in scene.signals:
            for lane in scene.lanes:
                apart = np.hypot(*(lane.centre - (signal.x_m, signal.y_m)).T).min() - lane.width_m / 2
                assert apart > 0.4


def test_left_turns_and_lower_streets_rank_below_the_others() -> None:
    scene = road("signals", 0)
    left = [name for name in scene.ranks if name == "ego" or (int(name[2]) - int(name[0])) % 4 == 1]
    assert scene.manoeuvre == "left"
    assert max(scene.ranks[name] for name in left) < min(scene.ranks[name] for name in scene.ranks if name not in left)
    prior = next(road("intersection", seed) for seed in range(20) if road("intersection", seed).ranks)
    waiting = {name for name, gates in prior.gates.items() if any(gate.kind != "crosswalk" for gate in gates)}
    others = set(prior.ranks) - waiting
    assert max(prior.ranks[name] for name in waiting) < min(prior.ranks[name] for name in others)
