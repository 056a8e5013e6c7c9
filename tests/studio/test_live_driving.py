"""Driving by hand: what the pad does, that the dream follows the car, that dream and town get the same controls."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from policy.bicycle import CarState
from studio.imagine import read_actions
from studio.live.drive.drives import Drives, Seat
from studio.live.drive.driving import MAX_SECONDS, Driving
from studio.live.drive.hands import PAD_CAR, Hands
from studio.live.drive.keeping import command, keep
from studio.live.drive.obstacle import Obstacle, along
from studio.live.drive.ride import DriveRequest
from studio.moments import Moment
from studio.web.films import Films, Track
from worldmodel.clips import Clip, Instruction
from worldmodel.errors import BadRequest, ClipTooShort, MissingMotion, UnknownName
from worldmodel.geometry import Motion, Trajectory
from worldmodel.guidance import parse_schedule
from worldmodel.io.lerobot import Dataset
from worldmodel.io.video import probe
from worldmodel.model import WorldModel
from worldmodel.plans import PLAN_TIMES_S, Plan
from worldmodel.sampling import Sampling
from worldmodel.town.dataset import SOURCE
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

ONE = Sampling(steps=1)


@pytest.fixture(scope="module")
def recorded() -> Clip:
    """A road that glides by at 8 m/s."""
    ramp = (np.arange(64)[None] + 3 * np.arange(12)[:, None]) % 256
    return Clip(
        id="glide",
        video=np.broadcast_to(ramp[:, None, None, None], (12, 3, 3, 32, 64)).astype(np.uint8),
        rig=town_rig(3, 64, 32),
        motion=Motion(deltas=np.tile([1.0, 0.0, 0.0], (11, 1)), period_s=0.125),
        frequency_hz=8.0,
        instructions=(Instruction(text="follow the road"),),
    )


@pytest.fixture(scope="module")
def street() -> Clip:
    """A clip of the town, grey: nothing here looks at its pictures."""
    scene = simulate("street", 2944906, seconds=2.5)
    return Clip(
        id=scene.id,
        video=np.full((len(scene), 3, 3, 32, 64), 120, np.uint8),
        rig=town_rig(3, 64, 32),
        motion=scene.trajectory().motion(),
        frequency_hz=8.0,
        source=SOURCE,
    )


def drive(model: WorldModel, clip: Clip, folder: Path, *, now: int = 7, **changes: object) -> Driving:
    request = DriveRequest(sampling=ONE, **changes)  # type: ignore[arg-type]
    return Driving(model, Moment(clip=clip, now=now), request, folder)


def car(speed: float) -> CarState:
    return CarState(x_m=0.0, y_m=0.0, yaw_rad=0.0, speed_mps=speed)


def straight_on() -> Plan:
    poses = np.stack([8.0 * PLAN_TIMES_S, 0 * PLAN_TIMES_S, 0 * PLAN_TIMES_S], axis=-1)
    return Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S))


def test_hands_off_hold_the_speed_and_a_held_key_turns_harder_than_a_tap() -> None:
    assert Hands().controls(car(8.0)) == (0.0, 0.0)
    left = Hands(steer=1)
    _, tapped = left.controls(car(8.0), Hands())
    _, held = left.controls(car(8.0), left)
    assert 0 < tapped < held
    assert held * 8.0**2 <= 2.0 + 1e-9
    assert left.controls(car(16.0), left)[1] < held
    assert Hands(throttle=-1).controls(car(8.0))[0] < -3 < 0 < Hands(throttle=1).controls(car(8.0))[0]


@pytest.mark.parametrize("said", [None, "left", 3, [1], {"throttle": "1"}, {"steer": float("nan")}, {"throttle": True}])
def test_what_a_browser_says_is_not_trusted(said: object) -> None:
    assert Hands.read(said) == Hands()


def test_pad_values_are_bounded() -> None:
    assert Hands.read({"throttle": 9, "steer": -0.5}) == Hands(throttle=1.0, steer=-0.5)


def test_the_dream_follows_the_car(tiny_model: WorldModel, recorded: Clip, tmp_path: Path) -> None:
    driving = drive(tiny_model, recorded, tmp_path)
    view = driving.go_on(Hands(throttle=1))
    assert view.car.speed_mps == pytest.approx(8.0 + 0.5 * 2.0, abs=0.1)
    view = driving.go_on(Hands(steer=1))
    assert view.car.yaw_rad > 0
    np.testing.assert_allclose(driving.reels["dream"].poses[-1], view.car.pose, atol=1e-6)
    assert view.driven_s == 1.0
    assert view.frames["dream"].shape[:2] == (4, 3)
    assert view.plan is None
    assert view.memory is not None


def test_a_driven_dream_is_what_detour_imagine_gives_for_its_path(
    tiny_model: WorldModel, recorded: Clip, tmp_path: Path
) -> None:
    driving = drive(tiny_model, recorded, tmp_path, seed=3)
    for hands in (Hands(throttle=1), Hands(steer=1), Hands(steer=1)):
        driving.go_on(hands)
        driving.say("slow; down")
    *_, kept = keep(driving.reels, tmp_path / "datasets", tmp_path, "drive-0", "tiny")
    assert kept.path is not None
    moment = Moment(clip=recorded, now=7)
    again = tiny_model.imagine(
        moment.observation(),
        seconds=1.5,
        seed=3,
        actions=read_actions(kept.path),
        guide=parse_schedule('[[0, "follow the road"], [0.5, "slow; down"]]'),
        sampling=ONE,
    )
    dreamt = driving.reels["dream"].video().astype(int)
    assert np.abs(again.video - dreamt).max() <= 1
    told = command(driving, "clips:0@0.875", Path("assets/default"))
    assert '[[0.0, "follow the road"], [0.5, "slow; down"]]' in told
    assert "--actions driven.csv" in told
    assert driving.repeatable


def test_autopilot_drives_where_no_key_is_held(tiny_model: WorldModel, recorded: Clip, tmp_path: Path) -> None:
    driving, braking = (drive(tiny_model, recorded, tmp_path) for _ in range(2))
    slow = braking.go_on(Hands(throttle=-1), autopilot=True)
    view = driving.go_on(Hands(), autopilot=True)
    assert slow.car.speed_mps == pytest.approx(8.0 - 0.5 * 5.0, abs=0.4)
    assert view.plan is not None
    assert view.plan.shape == (8, 2)
    assert view.car.speed_mps > slow.car.speed_mps
    assert slow.car.curvature_per_m == pytest.approx(view.car.curvature_per_m, abs=0.02)
    assert "autopilot's plan" in [layer["label"] for layer in view.above()["layers"]]


def test_an_obstacle_stands_in_the_dream_until_it_is_passed(
    tiny_model: WorldModel, recorded: Clip, tmp_path: Path
) -> None:
    driving, free = (drive(tiny_model, recorded, tmp_path) for _ in range(2))
    for one in (driving, free):
        one.go_on(Hands())
    driving.put(Obstacle(kind="cone"))
    assert not driving.repeatable
    views = [driving.go_on(Hands()) for _ in range(5)]
    assert views[0].obstacle is not None
    assert views[0].obstacle["x"] == pytest.approx(12.0, abs=5.0)
    assert views[-1].obstacle is None
    assert "You drove" in " ".join(view.note for view in views)
    assert (views[0].frames["dream"] != free.go_on(Hands()).frames["dream"]).any()


def test_a_place_on_a_way_is_found_along_it_and_straight_on_from_its_end() -> None:
    way = np.array([[4.0, 0.0, 0.0], [8.0, 0.0, 0.0], [8.0, 4.0, np.pi / 2]])
    np.testing.assert_allclose(along(way, 6.0), [6.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(along(way, 15.0), [8.0, 7.0, np.pi / 2], atol=1e-9)


def test_dream_and_town_get_the_same_controls(tiny_model: WorldModel, street: Clip, tmp_path: Path) -> None:
    driving = drive(tiny_model, street, tmp_path, now=15, world="both")
    for hands in (Hands(throttle=1), Hands(steer=1), Hands(throttle=-1)):
        view = driving.go_on(hands)
    dream, town = (np.stack(driving.reels[name].poses) for name in ("dream", "town"))
    assert len(dream) == 12
    np.testing.assert_allclose(dream, town, atol=0.02)
    assert view.boxes
    assert view.frames["town"].shape == view.frames["dream"].shape
    assert len(np.unique(view.frames["town"])) > 50
    assert driving.score is not None
    assert driving.score.progress_m > 10


def test_an_obstacle_in_the_town_is_real_and_changes_nothing_before(
    tiny_model: WorldModel, street: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driving, free = (drive(tiny_model, street, tmp_path, now=15, world="town") for _ in range(2))
    for one in (driving, free):
        one.go_on(Hands())
    monkeypatch.setattr(driving, "_plan", straight_on)
    driving.put(Obstacle(kind="car"))
    view = driving.go_on(Hands())
    assert any(box.track.startswith("inserted") for box in view.boxes)
    np.testing.assert_allclose(
        driving.reels["town"].poses, [*free.reels["town"].poses, *driving.reels["town"].poses[4:]]
    )
    while not view.ended:
        view = driving.go_on(Hands())
    assert "hit somebody" in view.ended
    with pytest.raises(BadRequest, match="Begin a new one"):
        driving.go_on(Hands())
    assert "detour drive --situation street" in command(driving, "x:0@1", Path("m"))


def test_recordings_have_no_town(tiny_model: WorldModel, recorded: Clip, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="drive the dream"):
        drive(tiny_model, recorded, tmp_path, world="town")
    other = replace(recorded, id="street-2944906", source=SOURCE)
    with pytest.raises(BadRequest, match="was recorded"):
        drive(tiny_model, other, tmp_path, world="both")
    with pytest.raises(UnknownName, match="world to drive in"):
        DriveRequest(world="moon")


def test_a_recording_without_motion_can_be_driven_on(tiny_model: WorldModel, recorded: Clip, tmp_path: Path) -> None:
    driving = drive(tiny_model, replace(recorded, motion=None), tmp_path)
    assert driving.go_on(Hands()).car.speed_mps == 8.0
    with pytest.raises(MissingMotion, match="Drive on for"):
        driving.put(Obstacle())


def test_a_drive_becomes_a_clip_marked_as_imagined(tiny_model: WorldModel, recorded: Clip, tmp_path: Path) -> None:
    driving = drive(tiny_model, recorded, tmp_path)
    driving.go_on(Hands())
    with pytest.raises(ClipTooShort, match="Drive on"):
        list(keep(driving.reels, tmp_path / "datasets", tmp_path, "drive-0", "tiny"))
    driving.go_on(Hands(throttle=1))
    driving.release("stopped.")
    views = list(keep(driving.reels, tmp_path / "datasets", tmp_path, "drive-0", "tiny"))
    assert [view.share for view in views] == sorted(view.share for view in views)
    kept = views[-1]
    assert kept.dataset is not None
    assert kept.film is not None
    clip = Dataset.open(kept.dataset).clip(0)
    assert clip.motion_origin == "imagined"
    assert "Imagined by Detour" in clip.source
    assert clip.instruction_at(0.0) == "follow the road"
    assert clip.motion is not None
    assert clip.motion.speeds_mps[-1] > clip.motion.speeds_mps[0]
    assert probe(kept.film).frames == 8
    assert not list(tmp_path.glob(".*partial*"))


def test_a_drive_ends_in_time(tiny_model: WorldModel, recorded: Clip, tmp_path: Path) -> None:
    driving = drive(tiny_model, recorded, tmp_path)
    reel = driving.reels["dream"]
    count = round((MAX_SECONDS - 0.5) * 8)
    reel.add(np.zeros((count, 3, 3, 32, 64), np.uint8), np.zeros((count, 3)), "")
    assert "at most 120 s" in driving.go_on(Hands()).ended


def test_pace_counts_waiting_too(tiny_model: WorldModel, recorded: Clip, tmp_path: Path) -> None:
    ticks = iter([0.0, 0.25, 0.5, 0.75])
    moment = Moment(clip=recorded, now=7)
    driving = Driving(tiny_model, moment, DriveRequest(sampling=ONE), tmp_path, clock=lambda: next(ticks))
    first = driving.go_on(Hands())
    assert first.pace_hz is None
    assert first.delay_s == 0.25
    view = driving.go_on(Hands(), waiting_frames=4)
    assert view.pace_hz == pytest.approx(8.0)
    assert view.delay_s == 0.5


def test_a_drive_left_alone_is_freed_and_what_was_recorded_stays(
    tiny_model: WorldModel, recorded: Clip, tmp_path: Path
) -> None:
    now = [0.0]
    drives = Drives(idle_s=20.0, clock=lambda: now[0])
    folder = tmp_path / "visitor"
    folder.mkdir()
    driving = drive(tiny_model, recorded, folder)
    film = Films().begin("a", [Track(name="dream", label="Dream", alt="")], rate_hz=8)
    drives.begin("a", Seat(driving=driving, film=film, clip="clips:0@1"))
    driving.go_on(Hands())
    now[0] = 19.0
    drives.free_idle()
    assert drives.of("a").driving.ended == ""
    now[0] = 40.0
    drives.free_idle()
    assert "nobody drove for 20 s" in drives.of("a").driving.ended
    assert driving._dream is None
    assert len(driving.reels["dream"]) == 4
    assert film.value()["tracks"][0]["done"]
    with pytest.raises(BadRequest, match="not driven yet"):
        drives.of("b")
    drives.begin("a", Seat(driving=drive(tiny_model, recorded, folder), film=film, clip="clips:0@1"))
    assert not (folder / "drive-dream-0.rgb").exists()
    folder.rmdir()
    drives.free_idle()
    assert len(drives) == 0


def test_pad_car_stays_within_the_model(tiny_model: WorldModel, recorded: Clip, tmp_path: Path) -> None:
    driving = drive(tiny_model, recorded, tmp_path)
    for _ in range(10):
        view = driving.go_on(Hands(throttle=1))
    assert view.car.speed_mps == pytest.approx(PAD_CAR.speed_mps)
