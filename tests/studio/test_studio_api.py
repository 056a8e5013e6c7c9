import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import served
from conftest import FakeWorld

from studio.live import calls
from studio.live.calls import MOST_KEPT, Caller
from studio.live.polite import Stopped
from studio.web.shared_model import SharedModel
from studio.web.site import Site
from worldmodel.errors import BadDataset, BadEdit, BadRequest, DetourError, UnknownName
from worldmodel.io.lerobot import Dataset

IMAGINE = {
    "clip": "0@2", "text": None, "actions": None, "seconds": 0.5, "seed": 1, "steps": 1, "guidance_text": 1.0,
    "memory": "window",
}  # fmt: skip
STITCH = {
    "clip": "0@2", "variant": "near", "kind": "car", "x_m": None, "y_m": None, "yaw_deg": 0.0, "speed_mps": 0.0,
    "planners": [], "samples": 1, "seed": 1,
}  # fmt: skip
PLAN = {"clip": "0@2", "planners": [], "samples": 1, "seed": 1}
STRAIGHT = [[0.25 * i, 1.0 * i, 0.0, 0.0] for i in range(5)]


class ReadyModel(SharedModel):
    """A stand-in that needs no checkpoint."""

    def get(self) -> FakeWorld:
        return FakeWorld()


@pytest.fixture
def site(drives: Dataset):
    site = Site(model=ReadyModel(Path("none")), clips=drives.path)
    yield site
    site.close_all()


@pytest.fixture
def caller(site) -> Caller:
    return Caller(site=site, session="me")


def test_imagine_gives_facts_a_film_and_the_run_folder(caller):
    answer = calls.imagine(caller, **IMAGINE | {"text": "stop", "actions": STRAIGHT})
    assert answer.facts["texts"] == ["stop"]
    assert answer.facts["trajectory"][-1] == {"t_s": 0.5, "x_m": 2.0, "y_m": 0.0, "yaw_rad": 0.0}
    assert {row["metric"] for row in answer.facts["scores"]} == {"PSNR", "SSIM"}
    json.dumps(answer.facts, allow_nan=False)
    assert answer.files["film"].stat().st_size > 0
    assert "run/run.json" in zipfile.ZipFile(answer.files["run"]).namelist()


@pytest.mark.slow
def test_stitch_gives_responses_a_film_and_the_run_folder(caller):
    answer = calls.stitch(caller, **STITCH | {"x_m": 15.0, "planners": ["joint", "stand-still"]})
    assert set(answer.facts["responses"]) == {"joint", "stand still"}
    assert answer.facts["responses"]["joint"]["path_length_change_m"] < -1
    json.dumps(answer.facts, allow_nan=False)
    assert "run/masks.npz" in zipfile.ZipFile(answer.files["run"]).namelist()


def test_plan_gives_poses_and_errors_and_writes_nothing(caller):
    answer = calls.plan(caller, **PLAN | {"clip": "two@2", "planners": ["constant-velocity"]})
    assert [(plan["clip"], len(plan["poses"])) for plan in answer.facts["plans"]] == [("two", 8)]
    assert answer.files == {}


@pytest.mark.parametrize(
    ("call", "wrong", "error", "said"),
    [
        ("imagine", {"seconds": 900}, BadRequest, "'seconds' is 900; it must be a number from 0.1 to 60"),
        ("imagine", {"seconds": float("nan")}, BadRequest, "'seconds' is nan"),
        ("imagine", {"seed": True}, BadRequest, "'seed' is True"),
        ("imagine", {"steps": 2.5}, BadRequest, "whole number from 1 to 50"),
        ("imagine", {"text": "x" * 2000}, BadRequest, "at most 1000 characters"),
        ("imagine", {"text": {"a": 1}}, BadRequest, "must be a text"),
        ("imagine", {"actions": [[0, 1]]}, BadRequest, r"rows \[t, x, y, yaw\]"),
        ("imagine", {"actions": [[0, 1, float("inf"), 0]]}, BadRequest, "finite"),
        ("imagine", {"actions": STRAIGHT * 1000}, BadRequest, "1 to 2000 rows"),
        ("imagine", {"memory": "elephant"}, UnknownName, "elephant"),
        ("imagine", {"clip": "99"}, BadRequest, "episode 99"),
        ("imagine", {"clip": "mine/../..:0"}, BadDataset, "no upload"),
        ("plan", {"planners": ["python:os.system"]}, BadRequest, "is a program; calls start none"),
        ("plan", {"planners": "joint"}, BadRequest, "a list of"),
        ("plan", {"samples": 1000}, BadRequest, "from 1 to 32"),
        ("stitch", {"kind": "unicorn"}, UnknownName, "unicorn"),
        ("stitch", {"x_m": -150.0}, BadEdit, "no camera"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence_and_leaves_nothing(caller, call, wrong, error, said):
    usual = {"imagine": IMAGINE, "stitch": STITCH, "plan": PLAN}[call]
    with pytest.raises(error, match=said):
        getattr(calls, call)(caller, **usual | wrong)
    assert list(caller.site.visitors.folder("me").glob("calls/*")) == []


def test_a_studio_open_to_others_opens_no_folder_and_no_checkpoint(caller, tmp_path):
    closed = Caller(site=replace(caller.site, any_folder=False), session="me")
    for place in (f"{tmp_path}:0", str(tmp_path), "../x:0", "~root:0"):
        with pytest.raises(BadDataset, match="not open here"):
            calls.plan(closed, **PLAN | {"clip": place})
    with pytest.raises(UnknownName, match="planner"):
        calls.plan(closed, **PLAN | {"planners": [str(tmp_path)]})
    assert calls.plan(closed, **PLAN | {"clip": "one"}).facts["plans"]


def test_only_the_newest_answers_are_kept(caller):
    for _ in range(MOST_KEPT + 3):
        caller.folder().mkdir()
    assert len(list(caller.site.visitors.folder("me").glob("calls/*"))) == MOST_KEPT


def test_answers_of_programs_that_never_leave_do_not_fill_the_disk(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MOST_OF_ALL", 4)
    for number in range(7):
        Caller(site=caller.site, session=f"program {number}").folder().mkdir()
    assert len(list(caller.site.visitors.root.glob("*/calls/*"))) == 4


def test_whoever_has_left_gets_no_answer(caller):
    caller.site.visitors.stop("me")
    with pytest.raises(Stopped):
        calls.plan(caller, **PLAN)


def test_errors_of_calls_are_errors_of_ours(caller):
    with pytest.raises(DetourError):
        calls.imagine(caller, **IMAGINE | {"clip": "0@0"})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of gradio's own dependencies
def test_the_example_asks_a_running_studio_by_name(checkpoint, drives, tmp_path, monkeypatch):
    from gradio_client import Client

    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2] / "examples"), *sys.path])
    from studio_client import ask

    with served([], checkpoint, drives.path) as (address, _):
        facts = ask(address, "0@2", 0.5, tmp_path)
        assert facts["imagined"]["texts"] == ["slow down and stop"]
        assert set(facts["stitched"]["responses"]) == {"joint"}
        assert [plan["planner"] for plan in facts["planned"]["plans"]] == ["joint", "constant-velocity"]
        assert {path.name for path in tmp_path.iterdir()} == {"imagined.mp4", "stitched.mp4"}
        client = Client(address, verbose=False)
        named = client.view_api(return_format="dict")
        assert set(named["named_endpoints"]) == {"/imagine", "/stitch", "/plan"}
        assert named["unnamed_endpoints"] == {}
        with pytest.raises(Exception, match=r"^'seconds' is 900; it must be a number from 0.1 to 60\.$"):
            client.predict(seconds=900, api_name="/imagine")
        client.close()
