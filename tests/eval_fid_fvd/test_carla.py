"""CARLA's driving score on plain dicts: the published tables, written out again in the leaderboards' own order of events."""

import numpy as np
import pytest

from eval_fid_fvd.driving_score import bench2drive_table, carla_driving_score, carla_infractions_per_km
from worldmodel.errors import BadRequest, UnknownName

KINDS = ("pedestrian", "vehicle", "static", "red_light", "stop", "scenario_timeout", "yield_emergency")
VERSIONS = ("1.0", "2.0", "2.1", "b2d")


def a_route(completion=100.0, *, outside=0.0, speeds=(), length=1000.0, **counts):
    return {
        "counts": counts,
        "route_completion": completion,
        "outside_lanes_percent": outside,
        "min_speed_percent": list(speeds),
        "length_m": length,
    }


def some_routes(rng, n=60):
    return [
        a_route(
            float(rng.uniform(0, 100)),
            outside=float(rng.choice([0, rng.uniform(0, 60)])),
            speeds=rng.uniform(0, 100, rng.integers(0, 4)),
            length=float(rng.uniform(100, 2000)),
            **{kind: int(rng.poisson(0.3)) for kind in KINDS},
        )
        for _ in range(n)
    ]


def event_by_event(route, version):
    """The leaderboards' loop: one event after the other."""
    fixed = dict(zip(KINDS, (0.5, 0.6, 0.65, 0.7, 0.8, 0.7, 0.7), strict=True))
    terms = dict(zip(KINDS, (1.0, 0.7, 0.6, 0.4, 0.25, 0.4, 0.4), strict=True))
    penalty, infraction_value = 1.0, 0.0
    for kind in KINDS if version != "1.0" else KINDS[:5]:
        for _ in range(route["counts"].get(kind, 0)):
            penalty *= 1.0 if version == "2.1" else fixed[kind]
            infraction_value += terms[kind]
    for percent in route["min_speed_percent"]:
        if version == "2.0":
            penalty *= 1 - (1 - 0.7) * (1 - percent / 100)
        infraction_value += 0.4 * (1 - percent / 100)
    if version == "2.1":
        penalty *= 1 / (1 + infraction_value)
    return penalty * (1 - route["outside_lanes_percent"] / 100)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_agrees_with_the_leaderboards_loop(rng, version: str) -> None:
    routes = some_routes(rng)
    found = carla_driving_score(routes, version)
    expected = np.array([event_by_event(route, version) for route in routes])
    np.testing.assert_allclose(found["penalty"], expected, rtol=1e-12)
    scores = expected * [route["route_completion"] for route in routes]
    np.testing.assert_allclose(found["driving_score"], scores, rtol=1e-12)
    assert found["mean_ds"] == pytest.approx(scores.mean(), rel=1e-12)
    assert set(found) == {"penalty", "driving_score", "mean_ds"}
    assert found["penalty"].dtype == found["driving_score"].dtype == np.float64


def test_one_of_each_by_hand() -> None:
    route = a_route(50.0, outside=20.0, speeds=[50.0], **dict.fromkeys(KINDS, 1))
    first = 0.5 * 0.6 * 0.65 * 0.7 * 0.8 * 0.8
    expected = {
        "1.0": first,
        "2.0": first * 0.7 * 0.7 * (1 - 0.3 * 0.5),
        "b2d": first * 0.7 * 0.7,
        "2.1": 0.8 / (1 + 1.0 + 0.7 + 0.6 + 0.4 + 0.25 + 0.4 + 0.4 + 0.4 * 0.5),
    }
    for version, penalty in expected.items():
        found = carla_driving_score([route], version)
        assert found["penalty"][0] == pytest.approx(penalty)
        assert found["mean_ds"] == pytest.approx(50 * penalty)


def test_the_mean_is_of_products_not_the_product_of_means() -> None:
    found = carla_driving_score([a_route(0.0), a_route(100.0, vehicle=1)], "1.0")
    assert found["mean_ds"] == pytest.approx((0 + 60) / 2)


def test_what_is_not_given_is_zero_and_order_does_not_matter(rng) -> None:
    assert carla_driving_score([{"counts": {}, "route_completion": 80}], "2.0")["mean_ds"] == 80
    routes = some_routes(rng, 20)
    for version in VERSIONS:
        forward, backward = (carla_driving_score(rows, version) for rows in (routes, routes[::-1]))
        np.testing.assert_array_equal(forward["driving_score"], backward["driving_score"][::-1])


def test_faster_than_the_traffic_is_no_event() -> None:
    for version in VERSIONS:
        assert carla_driving_score([a_route(speeds=[100.0, 250.0])], version)["mean_ds"] == 100


def test_what_only_ends_a_route_costs_nothing_more_and_other_facts_are_not_looked_at() -> None:
    route = a_route(30.0, vehicle_blocked=1, route_dev=1) | {"name": "Town12", "seed": 3}
    for version in VERSIONS:
        assert carla_driving_score([route], version)["mean_ds"] == 30
    assert bench2drive_table([route | {"route_completion": 100.0}])["success_rate"] == 0


def test_infractions_per_km_pool_all_routes() -> None:
    routes = [a_route(50.0, vehicle=1, length=1000.0), a_route(100.0, vehicle=2, length=500.0)]
    found = carla_infractions_per_km(routes)
    assert found["vehicle"] == pytest.approx(3 / 1.0)
    assert found["stop"] == 0
    with pytest.raises(BadRequest, match="route 1 has no 'length_m'"):
        carla_infractions_per_km([routes[0], {"counts": {}, "route_completion": 1.0}])


def test_bench2drive_divides_by_its_number_of_routes() -> None:
    routes = [a_route(speeds=[40.0]), a_route(vehicle=1), a_route(99.0), a_route(outside=1.0)]
    found = bench2drive_table(routes)
    assert found == pytest.approx({"driving_score": (100 + 60 + 99 + 99) / 220, "success_rate": 100 / 220, "routes": 4})
    with pytest.raises(BadRequest, match="3 are expected"):
        bench2drive_table(routes, expected=3)


@pytest.mark.parametrize(
    ("routes", "version", "error", "message"),
    [
        ([a_route()], "3.0", UnknownName, r"Known: 1\.0, 2\.0, 2\.1, b2d"),
        ([], "1.0", BadRequest, "at least one"),
        ([a_route(vehicles=1)], "1.0", UnknownName, "vehicle"),
        ([a_route() | {"outside_lane_percent": 1}], "1.0", UnknownName, "outside_lanes_percent"),
        ([{"counts": {}}], "1.0", BadRequest, "no 'route_completion'"),
        ([a_route(120.0)], "1.0", BadRequest, "at most 100"),
        ([a_route(float("nan"))], "1.0", BadRequest, "must be from 0 on"),
        ([a_route(vehicle=-1)], "1.0", BadRequest, "vehicle of route 0 is -1"),
        ([a_route(vehicle=0.5)], "1.0", BadRequest, "whole numbers"),
        ([a_route(speeds=[-3.0])], "2.0", BadRequest, "min_speed_percent of route 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(routes, version, error, message) -> None:
    with pytest.raises(error, match=message):
        carla_driving_score(routes, version)
