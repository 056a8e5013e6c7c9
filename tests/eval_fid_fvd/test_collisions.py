"""Collision rates: the published count against its published steps, and the box count against geometry by hand."""

import numpy as np
import pytest

from eval_fid_fvd.collisions import EgoBox, boxes_ahead, headings_along, is_vehicle, occupancy_of, raster_hits
from eval_fid_fvd.planning import box_collision_rates, collision_rates, published_points
from worldmodel.clips import Box
from worldmodel.errors import BadRequest
from worldmodel.geometry import Trajectory

HERE = np.zeros((1, 6, 2))
FREE = np.zeros((1, 6, 200, 200), bool)


def taken_at(x_m, y_m, steps=range(6)):
    """The cell at x right, y forward is occupied at these steps."""
    occupancy = FREE.copy()
    occupancy[0, list(steps), int((y_m + 50) // 0.5), int((x_m + 50) // 0.5)] = True
    return occupancy


def step_by_step(pred, truth, occupancy):
    """The published evaluation as loops, its footprint drawn by scikit-image as there."""
    draw = pytest.importorskip("skimage.draw")
    length, width, start, cell = 4.084, 1.85, -49.75, 0.5
    outline = np.array(
        [
            [-length / 2 + 0.5, width / 2],
            [length / 2 + 0.5, width / 2],
            [length / 2 + 0.5, -width / 2],
            [-length / 2 + 0.5, -width / 2],
        ]
    )
    outline = (outline - start) / cell
    rows, columns = draw.polygon(outline[:, 0], outline[:, 1])

    def hits(path, grids):
        out = []
        for (x, y), grid in zip(path, grids, strict=True):
            r = np.clip((y / cell + rows).astype(np.int32), 0, 199)
            c = np.clip((x / cell + columns).astype(np.int32), 0, 199)
            out.append(bool(grid[r, c].any()))
        return np.array(out)

    total = np.zeros(6)
    for p, t, grids in zip(pred, truth, occupancy, strict=True):
        excused = hits(t, grids)
        total += np.where(excused, 0, hits(p, grids))
    rate = total / len(pred)
    return {"uniad": rate[[1, 3, 5]], "stp3": np.array([rate[:2].mean(), rate[:4].mean(), rate.mean()])}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_published_count_agrees_with_its_published_steps(rng, dtype) -> None:
    pred = rng.normal(scale=(6, 25), size=(40, 6, 2)).astype(dtype)  # some leave the raster
    truth = (pred + rng.normal(scale=2, size=pred.shape)).astype(dtype)
    occupancy = rng.random((40, 6, 200, 200)) < 0.02
    found, expected = collision_rates(pred, truth, occupancy), step_by_step(pred, truth, occupancy)
    for name in ("uniad", "stp3"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12)
        assert found[f"{name}_avg"] == pytest.approx(expected[name].mean())
    assert 0 < found["uniad_avg"] < 1


def test_the_ego_covers_its_32_cells_and_no_more() -> None:
    covered = np.zeros((200, 200), bool)
    for row in range(90, 112):
        for column in range(90, 112):
            one = np.zeros((1, 1, 200, 200), bool)
            one[0, 0, row, column] = True
            covered[row, column] = raster_hits(np.zeros((1, 1, 2)), one)[0, 0]
    expected = np.zeros((200, 200), bool)
    expected[97:105, 98:102] = True
    np.testing.assert_array_equal(covered, expected)


def test_cells_are_cut_towards_zero_and_held_at_the_edge() -> None:
    def hit(x, y, row, column):
        one = np.zeros((1, 1, 200, 200), bool)
        one[0, 0, row, column] = True
        return bool(raster_hits(np.array([[[x, y]]], float), one)[0, 0])

    assert hit(0, 0.49, 97, 98)  # 97.98 is 97
    assert not hit(0, 0.5, 97, 98)
    assert hit(0, -48.7, 0, 100)  # 97 - 97.4 = -0.4 is 0, by cutting
    assert hit(0, -80.0, 0, 100)  # far behind: held at row 0
    assert hit(300.0, 0, 100, 199)


def test_right_is_right_and_forward_is_forward() -> None:
    moved = np.broadcast_to([3.0, 10.0], (1, 6, 2))  # 3 m to the right, 10 m ahead
    assert collision_rates(moved, HERE, taken_at(3.0, 10.0))["uniad"] == [1, 1, 1]
    assert collision_rates(moved, HERE, taken_at(-3.0, 10.0))["uniad"] == [0, 0, 0]


def test_columns_are_at_and_up_to() -> None:
    found = collision_rates(HERE, HERE + 30, taken_at(0, 0, steps=[2, 3]))
    assert found["uniad"] == [0, 1, 0]
    assert found["stp3"] == pytest.approx([0, 0.5, 1 / 3])


def test_where_the_driven_path_collides_the_plan_is_excused_but_counted() -> None:
    pred, truth = np.zeros((2, 6, 2)), np.stack([np.zeros((6, 2)), np.full((6, 2), 30.0)])
    occupancy = np.concatenate([taken_at(0, 0)] * 2)
    assert collision_rates(pred, truth, occupancy)["uniad"] == [
        0.5,
        0.5,
        0.5,
    ]  # not 1: both samples stay in the denominator


def test_the_box_count_forgives_nothing() -> None:
    parked = np.array([[0.0, 0.5, 0.0, 4.0, 1.8]])
    found = box_collision_rates(np.zeros((2, 6, 3)), [[parked] * 6, [np.zeros((0, 5))] * 6])
    assert found == {"at": [0.5] * 3, "at_avg": 0.5, "within": [0.5] * 3, "within_avg": 0.5}


def test_a_turned_ego_reaches_where_the_published_one_does_not() -> None:
    across = np.array([[-2.2, 10.0, 0.0, 0.6, 0.6]])  # somebody 2.2 m to the left
    ahead, left = np.zeros((2, 1, 6, 3))
    ahead[..., 1] = left[..., 1] = 10.0
    left[..., 2] = np.pi / 2
    assert box_collision_rates(ahead, [[across] * 6])["at_avg"] == 0
    assert box_collision_rates(left, [[across] * 6])["at_avg"] == 1
    raster = np.broadcast_to(occupancy_of(across), (1, 6, 200, 200))
    assert collision_rates(left[..., :2], np.full((1, 6, 2), 40.0), raster)["uniad_avg"] == 0


def test_within_never_falls_and_at_is_the_step_alone() -> None:
    there, gone = np.array([[0.0, 0.0, 0.0, 1.0, 1.0]]), np.zeros((0, 5))
    found = box_collision_rates(np.zeros((1, 6, 3)), [[gone, there, gone, gone, gone, gone]])
    assert found["at"] == [1, 0, 0]
    assert found["within"] == [1, 1, 1]


def test_touching_distance_is_exact() -> None:
    ego = EgoBox(length_m=4.0, width_m=2.0, ahead_m=1.0)  # from 1 m behind to 3 m ahead of the point
    for gap, expected in ((-0.01, 1.0), (0.01, 0.0)):
        in_front = np.array([[0.0, 3 + gap + 1.0, np.pi / 2, 8.0, 2.0]])
        at_right = np.array([[1 + gap + 0.3, 0.0, 0.0, 0.6, 0.6]])
        for other in (in_front, at_right):
            assert box_collision_rates(np.zeros((1, 6, 3)), [[other] * 6], ego=ego)["at_avg"] == expected


def test_box_counts_do_not_depend_on_the_frame(rng) -> None:
    poses = np.concatenate([rng.normal(scale=4, size=(30, 6, 2)), rng.uniform(-3, 3, (30, 6, 1))], axis=-1)
    boxes = [
        [
            np.column_stack([rng.normal(scale=6, size=(3, 2)), rng.uniform(-3, 3, 3), rng.uniform(1, 5, (3, 2))])
            for _ in range(6)
        ]
        for _ in range(30)
    ]
    turn, shift = 0.7, np.array([3.0, -8.0])
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])

    def moved(rows):
        return np.concatenate([rows[..., :2] @ matrix.T + shift, rows[..., 2:3] + turn, rows[..., 3:]], axis=-1)

    one = box_collision_rates(poses, boxes)
    assert 0 < one["at_avg"] < 1
    assert box_collision_rates(moved(poses), [[moved(step) for step in steps] for steps in boxes]) == one


def test_headings_follow_the_path_and_stand_still_with_it() -> None:
    straight_then_left = np.array([[0, 5], [0, 10], [-5, 10], [-5, 10.01], [-5, 10.02], [-10, 10.02]], float)
    np.testing.assert_allclose(headings_along(straight_then_left), [0, 0, np.pi / 2, np.pi / 2, np.pi / 2, np.pi / 2])
    assert headings_along(np.zeros((2, 6, 2))).tolist() == np.zeros((2, 6)).tolist()


def test_a_raster_of_boxes_holds_the_cells_that_they_reach_into() -> None:
    found = occupancy_of(np.array([[3.0, 10.0, 0.0, 4.0, 2.0]]))  # x 2..4, y 8..12
    expected = np.zeros((200, 200), bool)
    expected[116:124, 104:108] = True
    np.testing.assert_array_equal(found, expected)
    thin = occupancy_of(
        np.array([[0.26, 0.26, 0.4, 0.1, 0.1], [500.0, 0.0, 0.0, 4.0, 2.0], [0.0, 50.2, 0.0, 1.0, 1.0]])
    )
    assert thin[100, 100]
    assert thin[199].any()
    assert thin.sum() == 1 + 2


def test_boxes_of_later_frames_are_seen_from_now() -> None:
    def a_box(kind, forward, left, yaw):
        return Box(
            track=kind, kind=kind, center=np.array([forward, left, 0.7]), size=np.array([4.0, 2.0, 1.5]), yaw_rad=yaw
        )

    poses = np.array([[10.0, 0.0, 0.0], [10.0, 5.0, np.pi / 2]])  # ahead; then to the left, turned left
    frames = [[a_box("car", 5.0, 1.0, 0.3)], [a_box("car", 5.0, 1.0, 0.3), a_box("pedestrian", 0.0, 0.0, 0.0)]]
    first, second = boxes_ahead(frames, poses)
    np.testing.assert_allclose(first, [[-1.0, 15.0, 0.3, 4.0, 2.0]])
    np.testing.assert_allclose(second[0], [-10.0, 9.0, 0.3 + np.pi / 2, 4.0, 2.0])
    assert len(second) == 2
    assert len(boxes_ahead(frames, poses, which=is_vehicle)[1]) == 1


def test_kinds_are_understood_in_the_words_of_several_data_sets() -> None:
    vehicles = (
        "car",
        "Cars",
        "Bus",
        "Other Vehicle - Construction Vehicle",
        "vehicle.bicycle",
        "Motorcycle",
        "cyclist",
    )
    assert all(is_vehicle(kind) for kind in vehicles)
    assert not any(is_vehicle(kind) for kind in ("pedestrian", "human.pedestrian.adult", "Cones", "barrier", "cart"))


def test_our_plans_reach_the_raster_through_the_converter() -> None:
    times = np.arange(0, 3.5, 0.5)
    to_the_left = Trajectory(poses=np.stack([4 * times, times, 0 * times], axis=-1), times_s=times)
    points = published_points(to_the_left)[None]  # at 3 s: 12 m ahead, 3 m to the left
    assert collision_rates(points, HERE - 40, taken_at(-3.0, 12.0))["uniad"] == [0, 0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collision_rates(np.zeros((1, 5, 2)), np.zeros((1, 5, 2)), FREE), r"need \[b, 6, 2\].*Resample"),
        (lambda: collision_rates(HERE * np.nan, HERE, FREE), "not finite"),
        (lambda: collision_rates(HERE, HERE, FREE.astype(float)), "must be bool"),
        (lambda: collision_rates(HERE, HERE, FREE[:, :, :50]), "must be bool"),
        (lambda: collision_rates(np.zeros((0, 6, 2)), np.zeros((0, 6, 2)), FREE[:0]), r"\(0, 6, 2\)"),
        (lambda: box_collision_rates(HERE, [[np.zeros((0, 5))] * 6]), "headings_along"),
        (lambda: box_collision_rates(np.zeros((1, 6, 3)), [[np.zeros((2, 4))] * 6]), r"need \[n, 5\]"),
        (lambda: box_collision_rates(np.full((1, 6, 3), np.inf), [[np.zeros((0, 5))] * 6]), "not finite"),
    ],
)
def test_bad_input_is_refused_with_advice(call, message) -> None:
    with pytest.raises(BadRequest, match=message):
        call()
