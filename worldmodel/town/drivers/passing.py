"""Getting past what stands or creeps in the lane: where to swerve, and whether those who come have to be let through."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, sin, sqrt

from worldmodel.geometry import Array
from worldmodel.town.drivers.agents import Agent, Swerve
from worldmodel.town.roads.roadmap import RoadMap

PASSING_GAP_M = 0.45  # sideways, when driving around something that stands
PERSON_GAP_M = 0.9  # the same around people
BEYOND_M = 2.4  # who swerves closer than this to the oncoming lane's centre needs it free
FARTHEST_M = 3.4  # further over nobody swerves
EDGE_M = 1.05  # from a car's middle to the edge of the lane that it has to keep
JOIN_M = 24.0  # swerves that follow more closely become one
SLOW_MPS = 6.5  # cyclists up to this speed are overtaken
HOLD_M = 8.5  # how much earlier one stops behind something that one means to pass


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """Where the others are on somebody's path: (s, d, heading of the path there) of each agent, by index."""

    s: Array
    d: Array
    h: Array


def plan_swerves(agent: Agent, agents: Sequence[Agent], places: Array, view: View, road: RoadMap) -> None:
    """Decide past whom to swerve, and whom to let through first (`agent.swerves`, `agent.waits_for`)."""
    going = {track: swerve for swerve in agent.swerves for track in swerve.tracks}
    agent.swerves, agent.waits_for = [], {}
    if agent.path.length_m < 30 or agent.script:
        return
    found = []
    for i, other in enumerate(agents):
        if other is agent or not other.present or not _to_be_passed(agent, other):
            continue
        if view.s[i] - agent.s > 90.0 or abs(view.d[i]) > 6.0:
            continue
        swerve = _around(agent, other, float(view.s[i]), float(view.d[i]), float(places[i, 2] - view.h[i]), road)
        if swerve is not None:
            found.append(swerve)
    for swerve in _joined(found):
        begun = next((going[track] for track in swerve.tracks if track in going), None)
        if begun is not None:
            swerve = replace(swerve, ramp_m=begun.ramp_m)
        elif swerve.first_s > agent.s and not _can_steer(agent, swerve):
            continue  # too late to steer: brake, then see
        started = begun is not None and (
            agent.s > swerve.first_s - swerve.ramp_m + 1.0 or agent.d * swerve.offset_m > 0.3
        )
        if swerve.beyond and not started:
            blocker = _comes(agent, agents, places, view, swerve)
            if blocker is not None:
                agent.waits_for.update(dict.fromkeys(swerve.tracks, blocker.body.track))
                continue
        if begun is None:
            swerve = replace(swerve, ramp_m=min(max(swerve.first_s - agent.s, 8.0), 18.0))
        agent.swerves.append(swerve)


def _to_be_passed(agent: Agent, other: Agent) -> bool:
    if other.standing:
        return True
    return (
        other.body.kind == "cyclist" and other.speed < min(SLOW_MPS, agent.wish - 1.0) and agent.body.kind != "cyclist"
    )


def _around(agent: Agent, other: Agent, s: float, d: float, angle: float, road: RoadMap) -> Swerve | None:
    """How to drive past somebody; None where there is no need or no room."""
    along, across = abs(cos(angle)), abs(sin(angle))
    half_l, half_w = other.body.length_m / 2, other.body.width_m / 2
    wide, deep = across * half_l + along * half_w, along * half_l + across * half_w
    gap = PERSON_GAP_M if other.body.kind in ("pedestrian", "cyclist") else PASSING_GAP_M
    room = wide + agent.body.width_m / 2 + gap
    if not other.standing and (cos(angle) < 0.5 or s < agent.s - 6.0):
        return None
    if abs(d) >= room or s + deep < agent.s - agent.tail_m:
        return None
    inside = road.width_m / 2 - EDGE_M
    lane = agent.route in road.neighbours or _in_ring(agent, road)
    left_most = inside if lane else FARTHEST_M
    left, right = d + room, d - room
    offset = right if d > 0 and right >= -inside - 0.2 else left
    if offset > left_most:
        return None
    ahead = 3.0 if not other.standing else 1.0
    return Swerve(
        first_s=s - deep - agent.nose_m - 2.0,
        last_s=s + deep + agent.tail_m + ahead,
        offset_m=offset,
        tracks=(other.body.track,),
        beyond=offset > road.width_m - BEYOND_M,
    )


def _in_ring(agent: Agent, road: RoadMap) -> bool:
    if road.core is None:
        return False
    x, y, _ = agent.pose()
    return (x - road.core[0]) ** 2 + (y - road.core[1]) ** 2 < (road.core[2] + 10.0) ** 2


def _can_steer(agent: Agent, swerve: Swerve) -> bool:
    """Whether the offset can be reached in time without throwing anybody about."""
    return swerve.first_s - agent.s > max(6.0, agent.speed * sqrt(5.8 * abs(swerve.offset_m) / 2.6))


def _comes(agent: Agent, agents: Sequence[Agent], places: Array, view: View, swerve: Swerve) -> Agent | None:
    """Somebody who would meet this driver while it uses their lane."""
    slowest = min((other.speed for other in agents if other.body.track in swerve.tracks), default=0.0)
    speed = max(agent.speed, 0.6 * agent.wish)
    length = swerve.last_s + 6.0 - agent.s
    seconds = length / max(speed - slowest, 1.5) + 1.0
    end = swerve.last_s + slowest * seconds
    for i, other in enumerate(agents):
        if other is agent or not other.drives or abs(view.d[i]) > 7.0 or view.s[i] < agent.s:
            continue
        if cos(places[i, 2] - view.h[i]) > -0.3:
            continue
        if swerve.tracks[0] in other.waits_for or agent.body.track in other.waits_for.values():
            continue  # it waits for us
        theirs = max(other.speed, 0.5 * min(other.wish, 8.0)) if other.held_s > other.path.length_m else other.speed
        if view.s[i] - other.nose_m - theirs * seconds < end + 4.0:
            return other
    return None


def _joined(swerves: list[Swerve]) -> list[Swerve]:
    """Join swerves that follow closely, so that a row of parked cars is passed in one go."""
    result: list[Swerve] = []
    for swerve in sorted(swerves, key=lambda each: each.first_s):
        before = result[-1] if result else None
        if before is not None and swerve.first_s - before.last_s < JOIN_M and swerve.offset_m * before.offset_m > 0:
            size = max(abs(swerve.offset_m), abs(before.offset_m))
            result[-1] = Swerve(
                first_s=before.first_s,
                last_s=max(swerve.last_s, before.last_s),
                offset_m=size if swerve.offset_m > 0 else -size,
                tracks=before.tracks + swerve.tracks,
                beyond=swerve.beyond or before.beyond,
            )
        else:
            result.append(swerve)
    return result
