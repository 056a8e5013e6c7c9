"""What a study's rows say is plain statistics per scene: against scipy and closed forms; and its figures and words say it."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from studio.study_comparisons import comparisons
from studio.study_conditional import given_strong, size_relation
from studio.study_config import StudyConfig
from studio.study_figures import bent_ticks, driver_figure, reactions_figure, sweep_figure, ticks
from studio.study_oracle import against_oracle
from studio.study_rows import table_of
from studio.study_summary import summary_of
from studio.study_sweep import sweep
from studio.study_tables import goals_table, p_value, pivot
from studio.study_values import Value, rank_correlation, values_of
from studio.study_words import limits, methods

SCENES = 40
RANDOM = np.random.default_rng(7)
NEAR, FAR = RANDOM.uniform(-6, 0.5, SCENES), RANDOM.uniform(-2, 0.3, SCENES)
SKY_NEAR, SKY_FAR = RANDOM.uniform(-0.4, 0.4, SCENES), RANDOM.uniform(-0.2, 0.2, SCENES)
OTHER = RANDOM.uniform(-3, 0.5, SCENES)
DRIVER, DRIVER_FAR = RANDOM.uniform(-9, -0.6, SCENES), RANDOM.choice([0.0, -2.0], SCENES)
CONFIG = StudyConfig(
    planners=("a", "b"), variants=("near", "far", "sky_near", "sky_far"), comparisons=(("a", "b"),), scenes=SCENES
)


def scenes_of(changes: np.ndarray, **more: np.ndarray) -> dict[str, Value]:
    return {
        f"street-{n}": Value(change_m=float(change), **{name: values[n] for name, values in more.items()})
        for n, change in enumerate(changes)
    }


VALUES = {
    ("a", "near"): scenes_of(NEAR, oracle_m=DRIVER, object_px=np.full(SCENES, 400)),
    ("a", "far"): scenes_of(FAR, oracle_m=DRIVER_FAR, object_px=np.full(SCENES, 60)),
    ("a", "sky_near"): scenes_of(SKY_NEAR, object_px=np.full(SCENES, 400)),
    ("a", "sky_far"): scenes_of(SKY_FAR, object_px=np.full(SCENES, 60)),
    ("b", "near"): scenes_of(OTHER, oracle_m=DRIVER),
}


def test_planners_are_compared_scene_by_scene_as_scipy_does() -> None:
    found = {row["measure"]: row for row in comparisons([("a", "b")], VALUES, np.random.default_rng(0))}
    reaction = found["reaction to near, m"]
    assert reaction["difference"]["mean"] == pytest.approx((abs(NEAR) - abs(OTHER)).mean())
    assert reaction["p"] == pytest.approx(stats.wilcoxon(abs(NEAR), abs(OTHER)).pvalue)
    assert reaction["difference"]["low"] < reaction["difference"]["mean"] < reaction["difference"]["high"]
    share = found["near over 0.5 m, share"]
    assert share["one_mean"] - share["other_mean"] == pytest.approx(share["difference"]["mean"])
    assert share["one_mean"] == pytest.approx((abs(NEAR) > 0.5).mean())
    off = found["distance to the driver at near, m"]
    assert off["one_mean"] == pytest.approx(abs(NEAR - DRIVER).mean())
    assert "far - sky far, m" not in found  # the second planner has no such answers
    assert all(row["p_holm"] >= row["p"] for row in found.values())
    assert comparisons([("a", "c")], VALUES, np.random.default_rng(0)) == []


def test_only_scenes_that_both_answered_are_compared() -> None:
    fewer = {**VALUES, ("b", "near"): dict(list(VALUES["b", "near"].items())[5:])}
    found = comparisons([("a", "b")], fewer, np.random.default_rng(0))
    assert {row["scenes"] for row in found} == {SCENES - 5}


def test_agreement_with_the_driver_has_closed_forms() -> None:
    near, far = against_oracle(VALUES, ["a"], 0.5, np.random.default_rng(0))
    assert (near["variant"], far["variant"]) == ("near", "far")
    assert near["less_braking_m"]["mean"] == pytest.approx((NEAR - DRIVER).mean())
    assert near["distance_m"]["mean"] == pytest.approx(abs(NEAR - DRIVER).mean())
    assert near["both_brake"] == pytest.approx((NEAR < -0.5).mean())  # the driver brakes in all of them
    assert near["false_alarm"] is None
    assert near["spearman"] == pytest.approx(stats.spearmanr(NEAR, DRIVER).statistic)
    assert near["p"] == pytest.approx(stats.spearmanr(NEAR, DRIVER).pvalue)
    assert far["driver_reacts"] == (DRIVER_FAR < 0).sum() < far["scenes"]
    assert far["false_alarm"] == pytest.approx((FAR[DRIVER_FAR == 0] < -0.5).mean())
    assert far["same_sign"] == pytest.approx((np.sign(FAR) == np.sign(DRIVER_FAR)).mean())


def test_who_answers_as_the_driver_does_is_at_no_distance() -> None:
    twin = {("twin", "near"): scenes_of(DRIVER, oracle_m=DRIVER)}
    (row,) = against_oracle(twin, ["twin"], 0.5, np.random.default_rng(0))
    assert row["distance_m"]["mean"] == 0
    assert (row["both_brake"], row["same_sign"], row["spearman"]) == (1, 1, pytest.approx(1))


def test_where_near_slows_down_the_sky_is_looked_at_in_the_same_scenes() -> None:
    given = given_strong(VALUES, ["a"], CONFIG.variants, (0.5, 2.0), np.random.default_rng(0))
    for row, limit in zip(given, (0.5, 2.0), strict=True):
        strong = NEAR + limit < 0
        assert (row["slower_by_m"], row["scenes"]) == (limit, strong.sum())
        assert row["quiet"] == {
            "far": pytest.approx((abs(FAR[strong]) < 0.5).mean()),
            "sky_near": 1.0,
            "sky_far": 1.0,
        }
        road = row["contrasts"][1]
        assert (road["larger"], road["smaller"]) == ("far", "sky_far")
        assert road["difference_m"]["mean"] == pytest.approx((abs(FAR) - abs(SKY_FAR))[strong].mean())
        assert road["share_larger"] == pytest.approx((abs(FAR) > abs(SKY_FAR))[strong].mean())
        assert road["p"] == pytest.approx(stats.wilcoxon(abs(FAR[strong]), abs(SKY_FAR[strong])).pvalue)
    assert (
        given_strong({("a", "near"): scenes_of(np.zeros(3))}, ["a"], ("near",), (0.5,), np.random.default_rng(0)) == []
    )


def test_reaction_against_visible_size() -> None:
    relation = size_relation(VALUES, "a")
    assert relation is not None
    pixels = np.repeat([400.0, 60.0], SCENES)
    assert relation["road"]["spearman"] == pytest.approx(
        stats.spearmanr(pixels, abs(np.concatenate([NEAR, FAR]))).statistic
    )
    assert relation["road"]["points"] == 2 * SCENES
    assert size_relation({("a", "near"): scenes_of(NEAR)}, "a") is None  # all of one size
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None


def test_the_sweep_has_the_variants_among_its_points() -> None:
    config = replace(CONFIG, distances_m=(8.0, 20.0), sizes=(2.0,))
    swept = np.arange(SCENES) < 10
    values = {
        ("a", label): scenes_of(changes, swept=swept, oracle_m=DRIVER)
        for label, changes in (("near", NEAR), ("far", FAR), ("at 8 m", OTHER), ("at 20 m", FAR), ("size 2", OTHER))
    }
    rows = sweep(config, values, ["a"], np.random.default_rng(0))
    assert [(row["over"], row["at"]) for row in rows] == [
        ("distance", 8.0), ("distance", 12.0), ("distance", 20.0), ("distance", 30.0), ("size", 1.0), ("size", 2.0),
    ]  # fmt: skip
    assert {row["scenes"] for row in rows} == {10}
    assert rows[1]["change_m"]["mean"] == pytest.approx(NEAR[:10].mean())
    assert rows[1]["driver_m"] == pytest.approx(DRIVER[:10].mean())
    assert sweep(CONFIG, values, ["a"], np.random.default_rng(0)) == []


def summary() -> dict:
    rows = [
        {"scene": f"street-{n}", "planner": planner, "variant": variant, "sample": 0, "change_m": change, "oracle_m": -3.0,
         "lateral_m": -0.8 if n < 10 else 0.1, "onset_s": 1.5, "object_px": 9, "swept": True}
        for planner, factor in (("a", 1.0), ("b", 0.1))
        for variant, changes in (("near", NEAR), ("far", FAR), ("sky_near", SKY_NEAR), ("sky_far", SKY_FAR), ("other_seed", SKY_FAR))
        for n, change in enumerate(factor * changes)
    ]  # fmt: skip
    rows.append(
        {"scene": "street-1", "planner": "b", "variant": "near", "sample": 1, "error": "PolicyError, hang: no answer"}
    )
    verdicts = [{"scene": f"street-{n}", "reason": "eligible"} for n in range(SCENES)]
    return summary_of(CONFIG, table_of(rows), verdicts)


def test_goals_evading_and_failures_are_told() -> None:
    told = summary()
    a, b = told["goals"]
    assert a["met"] == {
        "near": True, "sky_near": True, "sky_far": True, "far_minus_sky_far": True, "near_minus_lookalike": None,
    }  # fmt: skip
    assert not b["met"]["near"]
    near = told["reactions"][0]
    assert (near["brakes"], near["speeds_up"]) == ((NEAR < -0.5).mean(), (NEAR > 0.5).mean())
    assert near["evades"] == 0.25
    assert near["onset_s"] == 1.5
    assert told["noise"][0]["high_m"] == pytest.approx(np.quantile(abs(SKY_FAR), 0.95))
    assert told["failed"] == [{"planner": "b", "variant": "near", "why": "PolicyError, hang", "count": 1}]
    assert goals_table(told).rows[0][1].endswith("yes")
    assert pivot(told, "over_half_m", ".0%", "").head == ("planner", "near", "far", "sky near", "sky far")
    assert (p_value(1e-9), p_value(0.0123)) == ("< 1e-6", "0.012")


def test_onsets_count_where_most_samples_brake() -> None:
    row = {"scene": "s", "planner": "p", "variant": "near", "change_m": -1.0, "lateral_m": 0.0}
    rows = [{**row, "sample": k, "onset_s": onset} for k, onset in enumerate((1.0, 2.0, None))]
    assert values_of(table_of(rows))["p", "near"]["s"].onset_s == 1.5
    rows[0]["onset_s"] = None
    assert values_of(table_of(rows))["p", "near"]["s"].onset_s is None


def test_figures_are_whole_svg_files_that_hold_no_link() -> None:
    told = summary()
    points = [{"planner": f"p{k % 4}", "over": "distance", "at": at, "change_m": {"mean": -at, "low": -at - 1, "high": None},
               "driver_m": -3.0} for k in range(4) for at in (8.0, 20.0)]  # fmt: skip
    for svg in (
        reactions_figure(told["reactions"], "reactions <all>"),
        sweep_figure(points, "distance", "sweep"),
        driver_figure([(-3.0, -1.0), (-20.0, -0.5)], "a", "driver"),
    ):
        root = ET.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "href" not in svg
    assert ticks(0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert bent_ticks(-30, 1, 200)[0] == -30
    assert 0 in bent_ticks(-30, 1, 60)


def test_the_methods_paragraph_has_the_studys_own_numbers() -> None:
    told = summary()
    text = methods(CONFIG, told)
    assert f"{SCENES} scenes had one" in text
    assert "near against sky near, far against sky far" in text
    assert "1 answers are missing" in text
    recorded = replace(CONFIG, dataset="mine")
    assert "not known" in methods(recorded, told)
    assert any("recordings" in one for one in limits(recorded))
