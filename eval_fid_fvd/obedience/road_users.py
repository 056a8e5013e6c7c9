"""Do others behave as they should? A leader's brake lights, and vehicles that cross from camera to camera."""

from collections.abc import Sequence

import numpy as np

from eval_fid_fvd.crops import HandOver, Sight, hand_overs, leader_of, sights
from eval_fid_fvd.held_out import Moment
from eval_fid_fvd.obedience.read_back import balanced_accuracy
from eval_fid_fvd.obedience.suite import SECONDS, Suite, driven
from eval_fid_fvd.obedience.table import Row, pooled_interval
from eval_fid_fvd.readers import FRONT
from worldmodel.clips import Box
from worldmodel.geometry import Array, Camera, Rig
from worldmodel.town.scene import Scene

LEADS = ("stop_and_go", "slow_truck", "traffic_light", "street", "curvy", "intersection")
MEETS = ("street", "curvy", "intersection", "cyclist", "roundabout", "double_parking", "parked_car")
LOOKS = 3  # frames in which somebody who came over may be recognised


def lights_row(suite: Suite) -> list[Row]:
    """The leader's brake lights in futures that are driven as logged, against what they really did."""
    moments = suite.moments("lights", LEADS, suite.clips, SECONDS, lambda scene, now: _follows(suite, scene, now))
    rollouts = suite.imagine([m.observation for m in moments], SECONDS, [driven(m, SECONDS) for m in moments])
    labels: list[Array] = []
    said: list[Array] = []
    on_true: list[Array] = []
    for moment, rollout in zip(moments, rollouts, strict=True):
        frames, places, braking = _leader_sights(moment, suite.rig)
        labels.append(braking)
        said.append(suite.readers.brake_lights(rollout.video[frames, FRONT], places) > 0.5)
        on_true.append(suite.readers.brake_lights(moment.future.video[frames, FRONT], places) > 0.5)

    def score(read: list[Array], order: Sequence[int] | Array) -> float:
        return balanced_accuracy(np.concatenate([read[i] for i in order]), np.concatenate([labels[i] for i in order]))

    everyone = range(len(moments))
    value = score(said, everyone)
    return [
        Row(
            quantity="leader's brake lights: balanced accuracy over frames",
            n=len(moments),
            value=value,
            unit="%",
            interval=pooled_interval(lambda rows: score(said, rows), len(moments), suite.seed),
            threshold="75 %",
            passed=bool(value >= 0.75),
            beside={"others' lights": _shuffled_lights(said, labels, suite.seed)},
            reader=score(on_true, everyone),
        )
    ]


def _follows(suite: Suite, scene: Scene, now: int) -> bool:
    """Whether somebody drives ahead who can be read for at least a second; braking at some moments, not at others."""
    frames = range(now + 1, now + 1 + round(SECONDS * suite.hertz), 4)
    camera, braking = suite.rig.cameras[FRONT], []
    for frame in frames:
        boxes = scene.boxes(frame)
        leader = leader_of(boxes)
        if leader is not None and _readable(boxes, leader, camera) is not None:
            braking.append(bool(scene.body_braking[frame, _body(scene, leader)]))
    return len(braking) >= 3 and any(braking) and not all(braking)


def _readable(boxes: Sequence[Box], track: str, camera: Camera) -> Sight | None:
    found = [s for s in sights(boxes, camera) if s.track == track and s.inside > 0.9]
    return found[0] if found else None


def _body(scene: Scene, track: str) -> int:
    return next(b for b, body in enumerate(scene.bodies) if body.track == track)


def _leader_sights(moment: Moment, rig: Rig) -> tuple[list[int], list[Sight], Array]:
    """Future frames in which a leader can be read, where it is, and whether it brakes."""
    frames, places, braking = [], [], []
    for k, boxes in enumerate(moment.future_boxes):
        leader = leader_of(boxes)
        place = None if leader is None else _readable(boxes, leader, rig.cameras[FRONT])
        if leader is not None and place is not None:
            frames.append(k)
            places.append(place)
            braking.append(bool(moment.scene.body_braking[moment.now + 1 + k, _body(moment.scene, leader)]))
    return frames, places, np.array(braking, bool)


def _shuffled_lights(said: list[Array], labels: list[Array], seed: int) -> float:
    """Balanced accuracy against the labels of other clips, cut to the shorter; mean over shifts."""
    random = np.random.default_rng(seed)
    scores = []
    for _ in range(16):
        order = random.permutation(len(said))
        pairs = [(said[i], labels[j]) for i, j in zip(order, np.roll(order, 1), strict=True)]
        cut = [(s[: len(t)], t[: len(s)]) for s, t in pairs]
        scores.append(balanced_accuracy(np.concatenate([s for s, _ in cut]), np.concatenate([t for _, t in cut])))
    return float(np.nanmean(scores))


def hand_over_row(suite: Suite) -> list[Row]:
    """Vehicles that leave one camera's picture for its neighbour's, in futures driven as logged."""
    moments = suite.moments(
        "hand-over", MEETS, suite.clips, SECONDS, lambda scene, now: bool(_events(suite, scene, now))
    )
    rollouts = suite.imagine([m.observation for m in moments], SECONDS, [driven(m, SECONDS) for m in moments])
    events = [_events(suite, moment.scene, moment.now) for moment in moments]
    kept = [_recognised(suite, m, r.video, e) for m, r, e in zip(moments, rollouts, events, strict=True)]
    true = [_recognised(suite, m, m.future.video, e) for m, e in zip(moments, events, strict=True)]
    other = [rollouts[(i + 1) % len(rollouts)].video for i in range(len(rollouts))]
    wrong = [_recognised(suite, m, video, e) for m, video, e in zip(moments, other, events, strict=True)]
    value = float(np.concatenate(kept).mean())
    return [
        Row(
            quantity=f"hand-over: recall of {sum(map(len, events))} crossings",
            n=len(moments),
            value=value,
            unit="%",
            interval=pooled_interval(
                lambda rows: float(np.concatenate([kept[i] for i in rows]).mean()), len(kept), suite.seed
            ),
            threshold="70 %",
            passed=bool(value >= 0.7),
            beside={"in others' futures": float(np.concatenate(wrong).mean())},
            reader=float(np.concatenate(true).mean()),
        )
    ]


def _events(suite: Suite, scene: Scene, now: int) -> tuple[HandOver, ...]:
    """Crossings in the four seconds after a moment; frames count from the first one after it."""
    frames = range(now + 1, now + 1 + round(SECONDS * suite.hertz))
    return hand_overs([scene.boxes(frame) for frame in frames], suite.rig)


def _recognised(suite: Suite, moment: Moment, video: Array, events: Sequence[HandOver]) -> Array:
    """Whether each vehicle is seen where it comes over, in one of the LOOKS frames from then on."""
    boxes = moment.future_boxes
    found = []
    for event in events:
        frame, camera = event.after
        places = [
            (k, place)
            for k in range(frame, min(frame + LOOKS, len(video)))
            for place in sights(boxes[k], suite.rig.cameras[camera])
            if place.track == event.track
        ]
        pictures = video[[k for k, _ in places], camera]
        found.append(bool((suite.readers.vehicle_there(pictures, [place for _, place in places]) > 0.5).any()))
    return np.array(found, float)
