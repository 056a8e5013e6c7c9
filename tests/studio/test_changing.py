"""`detour change`: the run folder of a change that is not an object."""

import json
from pathlib import Path

import pytest

from studio.changing import ChangeRequest, run_change
from worldmodel.errors import BadRequest
from worldmodel.io.lerobot import Dataset


def test_other_words_leave_a_run_with_both_sides(tmp_path: Path, drives: Dataset, world) -> None:
    request = ChangeRequest(clip=f"{drives.path}:one@2.0", text="stop", planners=("joint", "stand-still"), samples=2)
    record = run_change(request, tmp_path / "run", model=world)
    assert record["responses"] == json.loads((tmp_path / "run" / "run.json").read_text())["responses"]
    assert record["request"]["text"] == "stop"
    assert "edit" not in record["request"]
    assert set(record["responses"]) == {"joint", "stand still"}
    assert record["responses"]["stand still"]["endpoint_shift_m"] == 0
    assert record["town"] is None
    assert {"before", "after", "plans"} <= set(record["videos"])
    assert "'stop': clip one" in (tmp_path / "run" / "report.html").read_text().replace("&#x27;", "'")


@pytest.mark.parametrize("said", [{}, {"text": "stop", "remove": "car-1"}])
def test_exactly_one_thing_is_changed(said: dict[str, str]) -> None:
    with pytest.raises(BadRequest, match="exactly one of --remove, --weather and --text"):
        ChangeRequest(clip="x", **said)  # type: ignore[arg-type]
