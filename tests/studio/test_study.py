"""A study asks every planner the same, can be killed at any time, and its numbers are plain statistics per scene."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from eval_fid_fvd.statistics import holm
from studio.sprites import PictureSprite
from studio.study import lines_of, run_study
from studio.study_config import StudyConfig, read_study
from studio.study_rows import COLUMNS, scene_rows, table_of
from studio.study_summary import summary_of
from studio.town_sprites import sprite_of
from worldmodel.errors import BadMotion, BadRequest, BadTable, OutputExists, UnknownName
from worldmodel.geometry import Trajectory
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan

RED = np.zeros((30, 30, 4), np.uint8)
RED[...] = (250, 10, 10, 255)
SMALL = StudyConfig(
    planners=("looks", "blind"),
    situations=("street", "stop_and_go"),
    scenes=3,
    split="train",
    seed=5,
    moments_s=(2.0, 3.0),
    history_s=0.25,
    cameras=1,
    width_px=64,
    height_px=32,
)


@pytest.fixture(autouse=True, scope="module")
def _plain_sprites() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studio.stitch.sprite_of", lambda kind: PictureSprite(name=kind, rgba=RED, height_m=1.6))
        yield


@pytest.fixture(scope="module")
def whole(_plain_sprites: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nobody disturbed."""
    out = tmp_path_factory.mktemp("study") / "whole"
    run_study(SMALL, out, make=looks_and_blind)
    return out


def straight(speeds: np.ndarray) -> np.ndarray:
    x = speeds[..., None] * PLAN_TIMES_S
    return np.stack([x, 0 * x, 0 * x], axis=-1)


class Looks:
    """Drives slower the more its newest picture differs from the one without anything, below the horizon."""

    name = "looks"

    def __init__(self) -> None:
        self.seen: np.ndarray | None = None

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        road = observation.video[-1, 0, :, 14:].astype(float)
        if self.seen is None or self.seen.shape != road.shape or np.abs(self.seen - road).mean() > 15:
            self.seen = road
        speeds = 8.0 - np.abs(self.seen - road).mean() + np.random.default_rng(seed).normal(0, 0.1, 4)
        samples = straight(speeds)
        return Plan(trajectory=Trajectory(poses=samples.mean(axis=0), times_s=PLAN_TIMES_S), samples=samples)


class Blind:
    name = "blind"

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        return Plan(trajectory=Trajectory(poses=straight(np.array(8.0)), times_s=PLAN_TIMES_S))


class Broken:
    name = "broken"

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        raise BadMotion("not a number at 0.5 s")


def looks_and_blind(config: StudyConfig) -> tuple[Looks, Blind]:
    return Looks(), Blind()


def rows_of(out: Path) -> list[dict]:
    return pq.read_table(out / "rows.parquet").to_pylist()


def test_every_scene_planner_variant_and_sample_has_its_row(whole: Path) -> None:
    record = json.loads((whole / "study.json").read_text())
    rows = rows_of(whole)
    scenes = list(dict.fromkeys(row["scene"] for row in rows))
    assert record["summary"]["frames"]["eligible"] == len(scenes) >= 1
    for scene in scenes:
        for variant in SMALL.variants:
            own = [row for row in rows if (row["scene"], row["variant"]) == (scene, variant)]
            if own[0]["error"] is None:
                assert [row["sample"] for row in own if row["planner"] == "looks"] == [0, 1, 2, 3]
                assert [row["sample"] for row in own if row["planner"] == "blind"] == [0]
        again = [
            row for row in rows if (row["scene"], row["variant"], row["planner"]) == (scene, "other_seed", "looks")
        ]
        assert len(again) == 4
        assert all(row["change_m"] != 0 for row in again)
    assert {row["change_m"] for row in rows if row["planner"] == "blind" and not row["error"]} == {0.0}
    assert {row["change_m"] for row in rows if row["variant"] in ("empty", "sky_near", "sky_far")} == {0.0}
    assert all(row["change_m"] < 0 for row in rows if (row["planner"], row["variant"]) == ("looks", "near"))
    assert all(row["oracle_m"] < -0.5 for row in rows if row["variant"] == "near")
    assert {row["oracle_m"] for row in rows if row["variant"] in ("empty", "sky_near", "sky_far", "sky")} == {0.0}
    assert all(4 <= row["speed_mps"] <= 12 for row in rows)
    moments = json.loads((whole / "moments.json").read_text())["moments"]
    assert len({one["scene"] for one in moments}) == SMALL.scenes
    assert any("near - sky_near" in line for line in lines_of(record["summary"]))
    report = (whole / "report.html").read_text()
    assert (
        report.count("data:image/jpeg;base64,") == 9
    )  # best, median, worst of the planner that is shown: three pictures each
    assert "looks, best: " in report
    assert f"{len(scenes)} scenes had one" in report
    assert "http" not in report.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_killed_and_run_again_gives_the_same_bytes(tmp_path: Path, whole: Path) -> None:
    done = []

    def stop(finished: int, _: int) -> None:
        done.append(finished)
        if finished == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(SMALL, tmp_path / "killed", make=looks_and_blind, progress=stop)
    assert not (tmp_path / "killed").exists()
    other = StudyConfig(planners=("looks",), scenes=3)
    with pytest.raises(OutputExists):
        run_study(other, tmp_path / "killed", make=looks_and_blind)
    record = run_study(SMALL, tmp_path / "killed", make=looks_and_blind, progress=lambda n, _: done.append(n))
    assert json.loads((tmp_path / "killed" / "study.json").read_text()) == json.loads(json.dumps(record))
    assert done == [1, 2, 2, 3]
    for name in ("rows.parquet", "moments.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (whole / name).read_bytes()
    assert not (tmp_path / "killed.partial").exists()


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.stitch.sprite_of", sprite_of)  # the real one: other processes know no other
    asked = {
        "planners": ("constant-velocity", "stand-still"),
        "scenes": 4,
        "kind": "cone",
        "variants": ("near", "sky_far"),
    }
    config = StudyConfig(**{**vars(SMALL), **asked})
    for workers in (1, 4):
        run_study(config, tmp_path / str(workers), workers=workers)
    for name in ("rows.parquet", "moments.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "4" / name).read_bytes()
    assert {row["change_m"] for row in rows_of(tmp_path / "4")} <= {0.0, None}


def test_a_planner_without_an_answer_is_counted_and_the_study_goes_on(tmp_path: Path) -> None:
    record = run_study(SMALL, tmp_path / "out", make=lambda config: (Broken(), Blind()))
    summary = record["summary"]
    assert {row["planner"] for row in summary["reactions"]} == {"blind"}
    failed = [row for row in summary["failed"] if row["planner"] == "broken"]
    assert sum(row["count"] for row in failed) == summary["frames"]["eligible"] * len(SMALL.variants)
    assert "BadMotion: not a number" in failed[0]["why"]


def test_a_scene_is_a_pure_function() -> None:
    one, other = (scene_rows(SMALL, 0, looks_and_blind) for _ in range(2))
    assert one.rows == other.rows
    assert one.verdicts == other.verdicts


def hand_made(reactions: dict[str, list[float]], planner: str = "p") -> list[dict]:
    return [
        {"scene": f"street-{n}", "planner": planner, "variant": variant, "sample": k, "change_m": -value + shift,
         "oracle_m": -10.0}
        for variant, values in reactions.items()
        for n, value in enumerate(values)
        for k, shift in enumerate((-0.1, 0.1))
    ]  # fmt: skip


def test_the_summary_is_plain_statistics_per_scene() -> None:
    random = np.random.default_rng(0)
    near, sky = random.uniform(0.2, 6, 30), random.uniform(0, 0.8, 30)
    far, sky_far = random.uniform(0.1, 3, 30), random.uniform(0, 2, 30)
    table = table_of(hand_made({"near": near, "sky_near": sky, "far": far, "sky_far": sky_far}))
    config = StudyConfig(planners=("p",), variants=("near", "sky_near", "far", "sky_far"), scenes=31)
    verdicts = [{"scene": f"street-{n}", "reason": "eligible"} for n in range(30)]
    verdicts.append({"scene": "street-30", "reason": "slow"})
    summary = summary_of(config, table, verdicts)
    assert summary["frames"] == {"scenes": 31, "eligible": 30, "moments": {"eligible": 30, "slow": 1}}
    row = summary["reactions"][0]
    assert row["reaction_m"]["mean"] == pytest.approx(near.mean())
    assert row["change_m"]["mean"] == pytest.approx(-near.mean())
    assert row["over_half_m"]["mean"] == pytest.approx((near > 0.5).mean())
    assert row["median_m"] == pytest.approx(np.median(near))
    assert row["reaction_m"]["low"] < near.mean() < row["reaction_m"]["high"]
    first, second = summary["contrasts"][:2]
    assert first["difference_m"]["mean"] == pytest.approx((near - sky).mean())
    assert first["p"] == pytest.approx(stats.wilcoxon(near, sky).pvalue)
    assert second["share_larger"] == (far > sky_far).mean()
    low, high = sorted((first["p"], second["p"]))
    assert sorted((first["p_holm"], second["p_holm"])) == pytest.approx([2 * low, max(2 * low, high)])
    strong = near > 2
    given = next(row for row in summary["given_strong"] if row["slower_by_m"] == 2.0)
    assert given["scenes"] == strong.sum()
    assert given["quiet"]["sky_near"] == pytest.approx((sky[strong] < 0.5).mean())
    assert given["contrasts"][1]["p"] == pytest.approx(stats.wilcoxon(far[strong], sky_far[strong]).pvalue)
    assert summary["oracle"][0]["less_braking_m"]["mean"] == pytest.approx((10 - near).mean())
    assert "p_holm" not in summary["contrasts"][2]


def test_holms_correction() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1.0, 1.0])
    assert holm(np.zeros(0)).shape == (0,)
    with pytest.raises(BadRequest, match="from 0 to 1"):
        holm(np.array([0.2, np.nan]))


def test_rows_have_all_columns_even_without_rows() -> None:
    assert table_of([]).column_names == list(COLUMNS)
    assert table_of([{"scene": "a", "change_m": float("nan")}]).column("change_m").to_pylist() == [None]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("planners: [joint]\nvariants: [nera]", UnknownName, "'near'"),
        ("planner: [joint]", UnknownName, "'planners'"),
        ("variants: [near]", BadTable, "names no planners"),
        ("planners: [joint]\nscenes: many", BadTable, "field 'scenes'"),
        ("planners: [joint]\nscenes: 0", BadRequest, "scenes is 0"),
        ("planners: []", BadRequest, "at least one planner"),
        ("planners: [joint, joint]", BadRequest, "named once"),
        ("planners: [joint]\nhistory_s: 9", BadRequest, "later moments"),
        ("planners: [joint]\nkind: carr", UnknownName, "'car'"),
        ("- joint", BadTable, "field: value"),
        ("planners: [", BadTable, "cannot be read as YAML"),
    ],
)
def test_studies_that_make_no_sense(tmp_path: Path, text: str, kind: type[Exception], message: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(kind, match=message):
        read_study(tmp_path / "study.yaml")
    with pytest.raises(BadTable, match="cannot be read"):
        read_study(tmp_path / "none.yaml")


def test_a_study_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        "planners: [joint, constant-velocity]\nvariants: [near, sky_near]\nscenes: 20\n"
    )
    assert read_study(tmp_path / "study.yaml") == StudyConfig(
        planners=("joint", "constant-velocity"), variants=("near", "sky_near"), scenes=20
    )
