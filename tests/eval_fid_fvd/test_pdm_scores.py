"""NAVSIM's totals on arrays, against the benchmark's own steps written out scene by scene."""

import numpy as np
import pytest

from eval_fid_fvd.driving_score import epdms, pdms, stage_two_weights, two_stage_score
from worldmodel.errors import BadRequest, UnknownName

ALL = ("NC", "DAC", "DDC", "TLC", "EP", "TTC", "C", "LK", "HC", "EC")


def some_scenes(rng, n=200):
    levels = {"NC": (0, 0.5, 1), "DDC": (0, 0.5, 1)}
    sub = {
        name: rng.choice(levels.get(name, (0, 1)), n, p=(0.1, 0.9) if name not in levels else (0.1, 0.2, 0.7))
        for name in ALL
    }
    return {name: values.astype(float) for name, values in sub.items()} | {"EP": rng.random(n)}


def scene_by_scene(sub, human, i):
    """The scorer's multiplicative metrics, weights and filter."""
    own = {name: float(values[i]) for name, values in sub.items()}
    if human is not None:
        own |= {name: 1.0 for name, values in human.items() if float(values[i]) == 0 and name != "EC"}
    gate = own["NC"] * own["DAC"] * own["DDC"] * own["TLC"]
    weights = {"EP": 5, "TTC": 5, "LK": 2, "HC": 2, "EC": 2}
    if np.isnan(own["EC"]):
        del weights["EC"]
    return gate * sum(w * own[k] for k, w in weights.items()) / sum(weights.values())


def test_one_scene_by_hand() -> None:
    sub = {
        "NC": [0.5],
        "DAC": [1],
        "DDC": [0.5],
        "TLC": [1],
        "EP": [0.4],
        "TTC": [1],
        "C": [0],
        "LK": [1],
        "HC": [0],
        "EC": [1],
    }
    assert pdms(sub)[0] == pytest.approx(0.5 * (5 * 0.4 + 5) / 12)  # DDC has no weight
    assert epdms(sub)[0] == pytest.approx(0.25 * (5 * 0.4 + 5 + 2 + 2) / 16)
    assert epdms({name: values for name, values in sub.items() if name != "EC"})[0] == pytest.approx(0.25 * 9 / 14)


def test_totals_agree_with_the_benchmarks_steps(rng) -> None:
    sub, human = some_scenes(rng), some_scenes(rng)
    human |= {"EP": np.ones(200), "HC": np.ones(200)}
    v1 = sub["NC"] * sub["DAC"] * (5 * sub["EP"] + 5 * sub["TTC"] + 2 * sub["C"]) / 12
    np.testing.assert_allclose(pdms(sub), v1, rtol=1e-12)
    sub["EC"][::7] = np.nan
    for filtered in (None, human):
        expected = [scene_by_scene(sub, filtered, i) for i in range(200)]
        np.testing.assert_allclose(epdms(sub, filtered), expected, rtol=1e-12)
    assert (epdms(sub, human) > epdms(sub)).any()


def test_the_filter_forgives_exact_zeros_only_and_never_extended_comfort() -> None:
    own = {name: np.zeros(4) for name in ALL}
    ones = {name: np.ones(4) for name in ALL}
    assert epdms(own, {name: np.zeros(4) for name in ALL}).tolist() == pytest.approx([14 / 16] * 4)
    own = ones | {"NC": np.zeros(4)}
    human = ones | {"NC": np.array([0.0, 0.5, 1.0, np.nan])}
    assert epdms(own, human).tolist() == [1, 0, 0, 0]
    assert epdms(ones | {"EC": np.zeros(4)}, ones | {"EC": np.zeros(4)}).tolist() == pytest.approx([14 / 16] * 4)
    assert own["NC"].tolist() == [0] * 4  # what was given stays as it is


def test_a_failed_scene_stays_visible() -> None:
    sub = {name: np.array([1.0, np.nan]) for name in ALL}
    np.testing.assert_array_equal(pdms(sub), [1, np.nan])
    np.testing.assert_array_equal(epdms(sub), [1, np.nan])


def test_lists_whole_numbers_and_floats_of_32_bits_give_the_same(rng) -> None:
    sub = some_scenes(rng, 20)
    plain = {name: values.tolist() for name, values in sub.items()}
    np.testing.assert_array_equal(epdms(plain), epdms(sub))
    whole = {name: np.ones(3, int) for name in ALL}
    assert epdms(whole).dtype == np.float64
    assert epdms(whole).tolist() == [1, 1, 1]


def test_order_of_scenes_does_not_matter(rng) -> None:
    sub, order = some_scenes(rng), rng.permutation(200)
    np.testing.assert_array_equal(epdms({k: v[order] for k, v in sub.items()}), epdms(sub)[order])


# -- two stages -------------------------------------------------------------------------------------------------


def test_weights_are_a_normalised_kernel_of_variance_a_tenth() -> None:
    found = stage_two_weights(np.zeros(2), np.array([[0.0, 0.0], [0.3, 0.4], [1.0, 0.0]]))
    raw = np.exp(-np.array([0.0, 0.25, 1.0]) / 0.2)
    np.testing.assert_allclose(found, raw / raw.sum(), rtol=1e-14)


def test_far_starts_count_equally() -> None:
    assert stage_two_weights([0, 0], [[3, 0], [0, 90]]).tolist() == [0.5, 0.5]
    near = stage_two_weights([0, 0], [[1.9, 0], [0, 90]])  # exp(-18) is above the benchmark's 1e-8
    np.testing.assert_allclose(near, [1, 0], atol=1e-12)
    assert stage_two_weights([0, 0], [[1.95, 0], [0, 90]]).tolist() == [0.5, 0.5]  # exp(-19) is not


def test_weights_do_not_depend_on_the_frame(rng) -> None:
    end, starts = rng.normal(size=2), rng.normal(size=(5, 2))
    turn = np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    moved = stage_two_weights(turn @ end + 7, starts @ turn.T + 7)
    np.testing.assert_allclose(moved, stage_two_weights(end, starts), rtol=1e-10)


def test_two_stages_multiply_per_group_then_average() -> None:
    near = {"end": [0, 0], "start": [[0, 0]], "s1": 1.0, "s2": [0.5]}
    far = {"end": [0, 0], "start": [[9, 0], [0, 9]], "s1": 0.5, "s2": [0.0, 1.0]}
    assert two_stage_score([near, far]) == pytest.approx((1.0 * 0.5 + 0.5 * 0.5) / 2)
    good_start, good_end = near | {"s1": 1.0, "s2": [0.0]}, near | {"s1": 0.0, "s2": [1.0]}
    assert two_stage_score([good_start, good_end]) == 0  # mean s1 times mean s2 would be 0.25


def test_two_stages_agree_with_a_loop(rng) -> None:
    groups = [
        {"end": rng.normal(size=2), "start": rng.normal(size=(k, 2)), "s1": rng.random(), "s2": rng.random(k)}
        for k in rng.integers(1, 6, 30)
    ]
    total = 0.0
    for group in groups:
        weights = [
            np.exp(-sum((e - s) ** 2 for e, s in zip(group["end"], start, strict=True)) / 0.2)
            for start in group["start"]
        ]
        total += group["s1"] * sum(w * s for w, s in zip(weights, group["s2"], strict=True)) / sum(weights)
    assert two_stage_score(groups) == pytest.approx(total / 30, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pdms({"NC": [1]}), BadRequest, "DAC is needed"),
        (lambda: pdms({"XX": [1]}), UnknownName, "XX"),
        (lambda: epdms({name: [1] if name != "EP" else [1, 1] for name in ALL}), BadRequest, r"all must be \[n\]"),
        (lambda: epdms({name: [1] for name in ALL}, {"NC": [1, 0]}), BadRequest, r"all must be \[n\]"),
        (lambda: pdms({name: [100] for name in ALL}), BadRequest, "Divide percentages"),
        (lambda: stage_two_weights([0, 0], np.zeros((0, 2))), BadRequest, "k at least 1"),
        (lambda: stage_two_weights([0, np.nan], [[0, 0]]), BadRequest, "not finite"),
        (lambda: two_stage_score([]), BadRequest, "at least one"),
        (lambda: two_stage_score([{"end": [0, 0], "start": [[0, 0]], "s1": 1}]), BadRequest, "no 's2'"),
        (
            lambda: two_stage_score([{"end": [0, 0], "start": [[0, 0]], "s1": 1, "s2": [1, 1]}]),
            BadRequest,
            "one s2 per start|per start",
        ),
        (lambda: two_stage_score([{"end": [0, 0], "start": [[0, 0]], "s1": np.nan, "s2": [1]}]), BadRequest, "is NaN"),
    ],
)
def test_what_makes_no_sense_is_refused(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
