"""The planners that ship: all there, small, with cards, found by name; and those that were surprised in training look at the road."""

from pathlib import Path

import numpy as np
import pytest

from policy.planner_config import KINDS
from studio.planners import SHIPPED, make_planner, model_for, planner_folder, shipped_names
from studio.study_config import StudyConfig
from studio.study_rows import scene_rows
from worldmodel.errors import UnknownName

MODEL = str(SHIPPED.parent / "default")


def test_every_kind_ships_at_both_mixes_with_a_card_in_six_megabytes() -> None:
    assert set(shipped_names()) == {f"{mix}/{kind}" for mix in ("natural", "rich") for kind in KINDS}
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    for name in shipped_names():
        card = (SHIPPED / name / "README.md").read_text()
        for said in ("nothing stitched", "constant velocity", "minutes on", "no evidence of road safety"):
            assert said in card, (name, said)


def test_a_shipped_planner_is_found_by_its_name_and_a_wrong_name_offers_them(tmp_path: Path) -> None:
    assert planner_folder("rich/ik") == SHIPPED / "rich" / "ik"
    assert planner_folder(str(tmp_path)) == tmp_path
    planner = make_planner("rich/ego-only", model_for(["rich/ego-only"], MODEL))
    assert planner.name == "ego-only (rich)"
    with pytest.raises(UnknownName, match="rich/ik"):
        model_for(["rich/ikk"], MODEL)


@pytest.mark.slow
def test_what_is_ahead_moves_the_rich_planners_and_little_else_does() -> None:
    names = ("rich/ik", "rich/direct", "rich/ego-only")
    variants = ("near", "sky_near", "lookalike", "empty")
    config = StudyConfig(planners=names, variants=variants, scenes=8, split="val", seed=5, history_s=0.75)
    found = [scene_rows(config, number) for number in range(config.scenes)]
    rows = [row for one in found for row in one.rows if row.get("change_m") is not None]
    assert len({row["scene"] for row in rows}) >= 3

    def mean(planner: str, variant: str) -> float:
        return float(
            np.mean([row["change_m"] for row in rows if (row["planner"], row["variant"]) == (planner, variant)])
        )

    for planner in ("ik (rich)", "direct (rich)"):
        near = mean(planner, "near")
        assert near < -5
        assert abs(mean(planner, "sky_near")) < abs(near) / 4
        assert abs(mean(planner, "lookalike")) < abs(near) / 4
        assert all(row["change_m"] == 0 for row in rows if row["planner"] == planner and row["variant"] == "empty")
    assert all(row["change_m"] == 0 for row in rows if row["planner"] == "ego-only (rich)")
