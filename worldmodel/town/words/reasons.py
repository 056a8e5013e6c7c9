"""Reasons: what holds the driver back during a stretch of the drive, as a clause."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from worldmodel.town.scene import AMBER, EGO_BODY, GREEN, SIGNAL_NAMES, Cause, Scene
from worldmodel.town.words.neighbours import STILL_MPS, Neighbour
from worldmodel.town.words.nouns import a, noun
from worldmodel.town.words.surroundings import Surroundings

SLOWER_MPS2 = -0.5
SOON_STILL_S = 2.0
LOOK_BACK_S = 1.5
OWN_WILL = ("free", "curve")  # causes that are nobody else's doing


@dataclass(frozen=True, eq=False)
class Chunk:
    """A stretch of the drive.

    Attributes:
        first, last: Its frames, both included.
    """

    around: Surroundings
    first: int
    last: int

    @property
    def scene(self) -> Scene:
        """The scene it belongs to."""
        return self.around.scene

    @property
    def begin(self) -> int:
        """The frame before it, where there is one."""
        return max(self.first - 1, 0)

    @property
    def seconds(self) -> float:
        """From `begin` to its last frame."""
        return (self.last - self.begin) / self.scene.frequency_hz

    @property
    def speed_mps(self) -> float:
        """At its end."""
        return float(self.scene.ego_speeds_mps[self.last])

    @cached_property
    def acceleration_mps2(self) -> float:
        """Mean over it; 0 where a scene is a single frame."""
        gained = float(self.scene.ego_speeds_mps[self.last] - self.scene.ego_speeds_mps[self.begin])
        return gained / self.seconds if self.seconds else 0.0

    @property
    def brakes(self) -> bool:
        """Whether the ego gets slower on purpose."""
        return self.acceleration_mps2 < SLOWER_MPS2

    @property
    def stands(self) -> bool:
        """Whether the ego stands still all the time."""
        return bool((self.scene.ego_speeds_mps[self.first : self.last + 1] < STILL_MPS).all())

    @property
    def stops(self) -> bool:
        """Whether it comes to a stop within SOON_STILL_S if it goes on braking like this, and nobody drives on ahead."""
        other, braking = self.body(self.cause.track), -self.acceleration_mps2
        if self.cause.kind == "leader" and other is not None and other.speed_mps > 1.5:
            return False
        return self.speed_mps < STILL_MPS or (braking > 0 and self.speed_mps / braking < SOON_STILL_S)

    @cached_property
    def cause(self) -> Cause:
        """What held the ego back during most of it; while it brakes or stands, others count before its own will."""
        causes = self.scene.ego_causes
        mine = causes[self.first : self.last + 1]
        if self.brakes or self.stands:
            others = [cause for cause in mine if cause.kind not in OWN_WILL]
            mine = tuple(others) or mine
        counts = Counter(reversed(mine))
        return max(counts, key=lambda cause: counts[cause])

    @cached_property
    def before(self) -> Cause:
        """The last thing that held the ego back in the LOOK_BACK_S before, other than its own will; free if none did."""
        frames = max(1, round(LOOK_BACK_S * self.scene.frequency_hz))
        earlier = self.scene.ego_causes[max(self.first - frames, 0) : self.last + 1]
        return next((cause for cause in reversed(earlier) if cause.kind not in OWN_WILL), Cause())

    def body(self, track: str) -> Neighbour | None:
        """Whoever has this track, at the end of the chunk; None where nobody near has."""
        return next((one for one in self.around.around(self.last) if one.track == track), None)

    @cached_property
    def in_way(self) -> Neighbour | None:
        """Whoever is on the strip of road that the ego drives over in the next moments, the nearest; None for nobody."""
        reach = min(10.0 + 2.0 * self.speed_mps, self.around.straight_m(self.last))
        offset = self.around.lane_place(self.last).offset_m
        near = [
            one
            for one in self.around.around(self.last)
            if one.x_m > 0 and one.along_m < reach and abs(one.side_m - offset) < one.half_m + EGO_BODY.width_m / 2
        ]
        return min(near, key=lambda one: one.along_m, default=None)

    def signal(self, track: str) -> int | None:
        """What the signal with this track shows at the end of the chunk; None where there is no such signal."""
        number, states = track.removeprefix("signal-"), self.scene.signal_states[self.last]
        return int(states[int(number)]) if number.isdigit() and int(number) < len(states) else None


def noun_of(scene: Scene, track: str) -> str:
    """'car', 'pedestrian', 'traffic cone' ... for the body with a track; 'vehicle' where there is none."""
    return next((noun(body.kind) for body in scene.bodies if body.track == track), "vehicle")


def reason_of(chunk: Chunk) -> str:
    """Why the driver is held back, as a clause; 'the road is free' where it is not."""
    cause, name = chunk.cause, noun_of(chunk.scene, chunk.cause.track)
    other = chunk.body(cause.track)
    if cause.kind == "leader" or (cause.kind == "obstacle" and other is not None and other.moves):
        return f"the {name} ahead {_pace(chunk, other)}"
    if name == "pedestrian":
        return _on_foot(chunk, other)
    if cause.kind == "signal":
        state = chunk.signal(cause.track)
        return f"the light is {SIGNAL_NAMES[state]}" if state in (AMBER, GREEN) else "the light is red"
    if cause.track in chunk.around.works:
        return "road works are in the way"
    if cause.kind == "obstacle":
        return f"{a(name)} {'is parked' if other is not None and other.parked else 'stands'} in the way"
    clauses = {
        "crossing": f"the {name} goes first" if cause.track else "there is a stop line",
        "oncoming": f"{a(name)} is coming towards us",
        "curve": "a bend is ahead",
        "halt": "we are to stand",
    }
    return clauses.get(cause.kind, "the road is free")


def _pace(chunk: Chunk, other: Neighbour | None) -> str:
    if other is None:
        return "is close"
    if not other.moves:
        return "stands"
    if other.braking:
        return "brakes"
    return "is slower" if other.speed_mps < chunk.speed_mps - 0.3 else "is close"


def _on_foot(chunk: Chunk, other: Neighbour | None) -> str:
    if other is None or other.moves:
        return "a pedestrian crosses the road"
    on_road = abs(other.side_m) < chunk.around.lane_place(chunk.last).width_m / 2
    return f"a pedestrian stands {'on the road' if on_road else 'at the kerb'}"
