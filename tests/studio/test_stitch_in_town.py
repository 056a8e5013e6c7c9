"""In the town, stitching knows depth and roadside, and which moments a study may use."""

from dataclasses import replace

import numpy as np
import pytest

from studio.eligible import REASONS, counted, first_eligible, lane_is_free, verdict, way_ahead
from studio.moments import Moment
from studio.sprites import PictureSprite
from studio.stitch import stitch
from studio.town_scene import roadside_m, solid_depth, town_depth, town_scene
from studio.town_sprites import sprite_of
from worldmodel.clips import Clip
from worldmodel.edits import InsertActor, StitchSprite
from worldmodel.errors import BadEdit, ClipTooShort
from worldmodel.geometry import compose
from worldmodel.town.dataset import SOURCE
from worldmodel.town.scene import Scene, town_rig
from worldmodel.town.traffic import simulate

RIG = town_rig(3, 64, 32)
RED = np.zeros((30, 30, 4), np.uint8)
RED[...] = (250, 10, 10, 255)
CRATE = PictureSprite(name="crate", rgba=RED, height_m=1.6)


@pytest.fixture(scope="module")
def street() -> Scene:
    return simulate("street", 2944906, seconds=8.0)


@pytest.fixture(scope="module")
def blocked() -> Scene:
    """The same street with a van 8 m ahead from 2 s on."""
    edit = InsertActor(kind="van", x_m=8.0, y_m=0.0, at_s=2.0)
    return simulate("street", 2944906, seconds=8.0, edits=(edit,))


def moment_of(scene: Scene, seconds: float = 2.5) -> Moment:
    frames = round(seconds * scene.frequency_hz)
    trajectory = scene.trajectory().motion()
    clip = Clip(
        id=scene.id,
        video=np.full((frames, 3, 3, 32, 64), 120, np.uint8),
        rig=RIG,
        motion=trajectory[: frames - 1],
        motion_origin="town",
        frequency_hz=scene.frequency_hz,
        source=SOURCE,
    )
    return Moment(clip=clip, now=16)


def test_depth_is_of_what_stands_and_not_of_the_ground(street: Scene, blocked: Scene) -> None:
    with_van, without = (solid_depth(scene, RIG, [15, 16])[:, 1] for scene in (blocked, street))
    assert np.isinf(without[0, -1]).all()  # the road at the picture's lower edge
    np.testing.assert_array_equal(with_van[0], without[0])
    van = next(b for b, body in enumerate(blocked.bodies) if body.track == "inserted-0")
    near_side = 8.0 - blocked.bodies[van].length_m / 2 - RIG.cameras[1].ego_from_camera[0, 3]
    assert with_van[1][with_van[1] != without[1]].min() == pytest.approx(near_side, abs=0.3)


def test_what_stands_nearer_hides_a_stitched_object(street: Scene, blocked: Scene) -> None:
    moment = moment_of(street)
    scene = town_scene(moment)
    assert scene is not None
    depth = town_depth(scene, moment)
    edit = StitchSprite(at_s=moment.at_s)
    free = stitch(moment.clip, edit, sprite=CRATE, depth_m=depth)
    assert free.provenance["occlusion"] == "known from depth"
    assert free.masks[16, 1].any()
    hidden = depth.copy()
    hidden[16:20] = solid_depth(blocked, RIG, range(16, 20))
    behind = stitch(moment.clip, edit, sprite=CRATE, depth_m=hidden)
    assert not behind.masks[16, 1].any()
    np.testing.assert_array_equal(behind.masks[:16], free.masks[:16])


def test_other_recordings_have_no_scene(street: Scene) -> None:
    moment = moment_of(street)
    assert town_scene(replace(moment, clip=replace(moment.clip, source="a dashcam"))) is None
    assert town_scene(replace(moment, clip=replace(moment.clip, id="street-2944907"))) is None


def test_the_roadside_is_beside_all_lanes_and_things(street: Scene) -> None:
    side = roadside_m(street, 16, CRATE)
    assert side is not None
    place = compose(street.ego_poses[16], np.array([13.0, side, 0.0]))
    for lane in street.stage.lanes:
        assert np.hypot(*(lane.centre - place[:2]).T).min() > lane.width_m / 2 + 0.8
    assert roadside_m(street, 16, PictureSprite(name="wall", rgba=np.repeat(RED, 20, axis=1), height_m=1.6)) is None


def test_a_free_street_at_a_usual_speed_is_eligible_because_the_towns_driver_brakes(street: Scene) -> None:
    found = verdict(street, 2.0)
    assert found.reason == "eligible"
    assert found.oracle_m is not None
    assert found.oracle_m < -0.5
    assert 4 <= found.speed_mps <= 12


def test_the_first_rule_that_fails_is_the_reason(street: Scene, blocked: Scene) -> None:
    frame = 16
    way = way_ahead(street, frame)
    assert way is not None
    assert len(way) == 81
    assert lane_is_free(street, frame, way)
    assert not lane_is_free(blocked, frame, way)
    slow, fast = street.ego_speeds_mps.copy(), street.ego_speeds_mps.copy()
    slow[frame], fast[frame] = 3.9, 12.1
    assert verdict(replace(street, ego_speeds_mps=slow), 2.0).reason == "slow"
    assert verdict(replace(street, ego_speeds_mps=fast), 2.0).reason == "fast"
    assert verdict(replace(street, route=street.route[: round(street.route_s[frame]) + 30]), 2.0).reason == "way ends"
    assert verdict(blocked, 2.0).reason == "lane not free"


def test_moments_and_variants_that_make_no_sense(street: Scene) -> None:
    with pytest.raises(ClipTooShort, match="a plan from 5 s needs"):
        verdict(street, 5.0)
    with pytest.raises(BadEdit, match="puts nothing on the road"):
        verdict(street, 2.0, variant="sky_near")


def test_a_scene_gives_one_moment_and_all_others_are_counted(street: Scene) -> None:
    slow = street.ego_speeds_mps.copy()
    slow[:17] = 1.0
    found = first_eligible(replace(street, ego_speeds_mps=slow), (1.0, 2.0, 2.5, 3.0, 6.0))
    assert [one.reason for one in found] == ["slow", "slow", "eligible"]
    assert counted(found) == {"eligible": 1, "slow": 2}
    assert list(counted(found)) == [reason for reason in REASONS if reason in counted(found)]
    late = first_eligible(replace(street, ego_speeds_mps=slow), (1.0, 6.0))
    assert [one.reason for one in late] == ["slow"]


def test_a_real_obstacle_stands_where_the_picture_does(street: Scene) -> None:
    from studio.town_answer import real_obstacle

    there = real_obstacle(StitchSprite(kind="truck", variant="far"), 2.0)
    length = sprite_of("truck").footprint_m[0]
    assert (there.x_m, there.y_m, there.at_s) == (pytest.approx(30 + length / 2), 0.0, 2.0)
    with pytest.raises(BadEdit, match="hangs above it"):
        real_obstacle(StitchSprite(z_m=1.0), 2.0)
