"""What foreign numbers mean: frames, units, steps, headings, other points of the car, other times; and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from policy.foreign.convention import ANGLES_RAD, FRAMES, HEADINGS, OURS, UNITS_M, derived_headings
from policy.foreign.declaration import declaration_of, merged
from worldmodel.errors import BadPolicy
from worldmodel.geometry import compose, integrate_rates, look_along
from worldmodel.plans import PLAN_TIMES_S

DECLARED = {
    "frame": "x-right-y-forward",
    "units": "m",
    "rate_hz": 2,
    "steps": 8,
    "heading": "derived",
    "relative_to": "ego-now",
    "ahead_of_rear_axle_m": 0,
    "randomness": "none",
}


def arc(yaw_rate: float = 0.2, times: np.ndarray = PLAN_TIMES_S, speed: float = 6.0) -> np.ndarray:
    whole = np.concatenate([[0.0], times])
    return integrate_rates(np.full(len(times), speed), np.full(len(times), yaw_rate), whole).poses[1:]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("units", UNITS_M)
@pytest.mark.parametrize(("heading", "angles"), [(h, a) for h in HEADINGS[1:] for a in ANGLES_RAD])
@pytest.mark.parametrize("ahead_m", [0.0, 1.4])
def test_there_and_back_is_the_same_under_every_convention(frame, units, heading, angles, ahead_m) -> None:
    there = replace(OURS, frame=frame, units=units, heading=heading, angles=angles, ahead_of_rear_axle_m=ahead_m)
    np.testing.assert_allclose(there.plan_poses(there.from_ours(arc(-0.3))), arc(-0.3), atol=1e-9)


def test_x_right_y_forward_is_turned_and_x_forward_y_right_is_mirrored() -> None:
    """8 m ahead and 1 m to the left, in the words of each frame."""
    for frame, said in (
        ("x-forward-y-left", [8.0, 1.0]),
        ("x-right-y-forward", [-1.0, 8.0]),
        ("x-forward-y-right", [8.0, -1.0]),
    ):
        there = replace(OURS, frame=frame, heading="derived", times_s=(4.0,))
        np.testing.assert_allclose(there.plan_poses(np.array([said]))[-1, :2], [8.0, 1.0], atol=1e-12)


def test_headings_say_where_they_grow() -> None:
    """A car that has turned 90 degrees to the left."""
    for frame, heading, said in (
        ("x-right-y-forward", "x-to-y", 180.0),
        ("x-right-y-forward", "forward-to-left", 90.0),
        ("x-forward-y-right", "x-to-y", -90.0),
        ("x-forward-y-left", "forward-to-right", -90.0),
    ):
        there = replace(OURS, frame=frame, heading=heading, angles="deg", times_s=(4.0,))
        pose = there.plan_poses(np.array([[0.0, 0.0, said]]))[-1]
        assert pose[2] == pytest.approx(np.pi / 2)


def test_steps_add_up() -> None:
    there = replace(OURS, heading="derived", relative_to="previous-point")
    poses = there.plan_poses(np.tile([3.0, 0.0], (8, 1)))
    np.testing.assert_allclose(poses[:, 0], 3.0 * np.arange(1, 9))


def test_derived_headings_are_exact_on_circles() -> None:
    poses = arc(0.4)
    np.testing.assert_allclose(derived_headings(np.vstack([np.zeros(2), poses[:, :2]]))[1:], poses[:, 2], atol=1e-9)


def test_a_car_that_stands_or_backs_up_keeps_its_heading() -> None:
    assert not derived_headings(np.zeros((5, 2))).any()
    backwards = np.column_stack([-np.arange(5.0), np.zeros(5)])
    np.testing.assert_allclose(derived_headings(backwards), 0.0, atol=1e-12)


def test_the_rear_axle_follows_a_point_ahead_of_it() -> None:
    """Points of the front axle of a car on a circle; their path alone tells where the rear axle is."""
    poses = np.vstack([np.zeros(3), arc(0.2)])
    front = compose(poses, np.array([1.4, 0.0, 0.0]))[1:, :2] - [1.4, 0.0]
    there = replace(OURS, heading="derived", ahead_of_rear_axle_m=1.4)
    np.testing.assert_allclose(there.plan_poses(front), poses[1:], atol=0.12)


def test_other_rates_are_brought_to_half_seconds() -> None:
    fine = np.arange(1, 41) / 10
    there = replace(OURS, times_s=tuple(fine), heading="derived")
    np.testing.assert_allclose(there.plan_poses(arc(0.2, fine)[:, :2]), arc(0.2), atol=1e-6)


def test_three_seconds_are_refused_unless_straight_on_is_declared() -> None:
    short = PLAN_TIMES_S[PLAN_TIMES_S <= 3]
    with pytest.raises(BadPolicy, match=r"end at 3 s.*beyond: straight-on"):
        replace(OURS, times_s=tuple(short))
    there = replace(OURS, times_s=tuple(short), beyond="straight-on", heading="derived")
    poses = there.plan_poses(arc(0.0, short)[:, :2])
    np.testing.assert_allclose(poses[:, 0], 6.0 * PLAN_TIMES_S)
    bent = there.plan_poses(arc(0.3, short)[:, :2])
    np.testing.assert_allclose(bent[5:, 2], bent[5, 2])
    assert np.hypot(*np.diff(bent[5:, :2], axis=0).T) == pytest.approx([3.0, 3.0], abs=0.02)


def test_cameras_are_told_in_the_policys_own_frame() -> None:
    camera = look_along(0.0, np.array([1.4, 0.5, 1.5]))
    there = replace(OURS, frame="x-right-y-forward", units="cm", ahead_of_rear_axle_m=0.4)
    told = there.camera_from_ours(camera)
    np.testing.assert_allclose(told[:3, 3], [-50.0, 100.0, 150.0])
    np.testing.assert_allclose(told[:3, 2], [0.0, 1.0, 0.0], atol=1e-12)  # it looks along y
    for frame in FRAMES:
        assert np.linalg.det(replace(OURS, frame=frame).camera_from_ours(camera)[:3, :3]) == pytest.approx(1.0)


def test_a_whole_declaration_is_understood() -> None:
    declared = declaration_of({**DECLARED, "cameras": ["front"], "name": "mine"}, "it")
    assert declared.convention is not None
    assert declared.convention.times_s == tuple(PLAN_TIMES_S)
    assert (declared.needs.name, declared.needs.cameras) == ("mine", ("front",))


@pytest.mark.parametrize("missing", ["frame", "units", "heading", "relative_to", "ahead_of_rear_axle_m", "randomness"])
def test_what_is_missing_is_refused_with_its_choices(missing: str) -> None:
    content = {name: value for name, value in DECLARED.items() if name != missing}
    with pytest.raises(BadPolicy, match=f"does not declare '{missing}', and it is not guessed. Add `{missing}:` with"):
        declaration_of(content, "it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": "x-left"}, "choose one of x-forward-y-left, x-right-y-forward"),
        ({"units": "km"}, "choose one of m, cm, ft"),
        ({"heading": "x-to-y"}, "does not declare 'angles'"),
        ({"rate_hz": 0}, "a rate above 0"),
        ({"rate_hz": float("nan")}, "a rate above 0"),
        ({"steps": 2.5}, "a whole number"),
        ({"times_s": [0.5, 4]}, "declares rate_hz, steps, times_s of the points' times"),
        ({"rate_hz": 1, "steps": 8, "frmae": 1}, "'frmae', which is no field"),
        ({"ahead_of_rear_axle_m": 60}, "must be 0 to 5 m"),
        ({"ahead_of_rear_axle_m": "far"}, 'ahead_of_rear_axle_m as "far"'),
        ({"timeout_s": 0}, "timeout_s is declared as 0"),
        ({"width_px": 64}, "pictures have both"),
        ({"pictures": "many"}, "Correct it"),
        ({"randomness": "some"}, "none, seeded, unseeded"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict, message: str) -> None:
    with pytest.raises(BadPolicy, match=message):
        declaration_of({**DECLARED, **change}, "it")


@pytest.mark.parametrize("times", [[], [1, 0.5, 4], [-1, 4], [0], [5, float("inf")], [70]])
def test_times_that_make_no_sense_are_refused(times: list[float]) -> None:
    content = {name: value for name, value in DECLARED.items() if name not in ("rate_hz", "steps")}
    with pytest.raises(BadPolicy):
        declaration_of({**content, "times_s": times}, "it")


def test_a_file_and_the_policy_itself_must_agree() -> None:
    assert merged({"units": "m"}, {"units": "m", "frame": "x"}, "it") == {"units": "m", "frame": "x"}
    with pytest.raises(BadPolicy, match='units is "m", and the policy itself says "cm"'):
        merged({"units": "m"}, {"units": "cm"}, "it")
