"""The Jobs page: controls write a job file, what others may not name in it, how each unit stands, how a batch is stopped."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.jobs.plan.job_file import job_of
from studio.live.study import shown as study_shown
from studio.live.tasks import batch_shown, batches, job_form
from studio.live.tasks import shown as jobs_shown
from studio.live.tasks.batches import batch_order, planned
from studio.live.tasks.followed import Follower, follower_of
from studio.live.tasks.job_form import Form, asked_by, form_in, job_yaml, link_of
from studio.live.tasks.job_guard import guarded, shipped_name
from studio.live.tasks.orders import Order, TaskView, Unit, UnitView
from studio.live.tasks.processes import Count, Ended
from studio.live.tasks.tasks import Tasks
from studio.pages.jobs.results import _packed
from studio.web.links import Link
from studio.web.site import Site
from studio.yaml_files import yaml_of
from worldmodel.errors import BadDataset, BadRequest, BadTable, UnknownName
from worldmodel.io.lerobot import Dataset

BAD = '<img src=x onerror="alert(1)">'
MODEL = Path(__file__).resolve().parents[2] / "assets" / "default"
KEY = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


@pytest.fixture
def site(drives: Dataset) -> Site:
    return Site.open(MODEL, drives.path)


@pytest.fixture
def shared(drives: Dataset) -> Site:
    return Site.open(MODEL, drives.path, any_folder=False)


def content_of(form: Form, before: str = "") -> Any:
    return yaml_of(job_yaml(form, "assets/clips", before), "it", "a job").content


@pytest.mark.parametrize("kind", job_form.KINDS)
def test_what_the_controls_write_is_a_job_file(kind: str) -> None:
    job = job_of(job_yaml(Form(kind=kind, clips="0, 2-4, 5@2.5", text="turn left\n\ngo on"), "assets/clips"), "it")
    assert len(job.parts()) == 1
    clips = job.parts()[0].clips
    assert [(one.episodes, one.at_s) for one in clips] == [("0, 2-4", None), ("5", 2.5)]


def test_each_kind_of_job_asks_what_it_stands_for() -> None:
    assert content_of(Form(text="turn left\nturn left\nstop"))["sweep"] == {
        "texts": ["turn left", "stop"],
        "seeds": "0-2",
        "seconds": [4.0],
    }
    assert content_of(Form())["sweep"]["texts"] == [None]
    stitch = content_of(Form(kind="stitch", variant="far", thing="cone", text="not asked"))
    assert stitch["sweep"] == {"edits": [{"variant": "far", "kind": "cone"}], "seeds": "0-2", "seconds": [4.0]}
    whole = content_of(Form(kind="demo"))
    assert whole["metrics"] == ["psnr", "ssim", "ade"]
    assert whole["sweep"]["edits"] == [None, {"variant": "near", "kind": "car"}]
    for clips in ("", "a", "1@", "0;1", "../../etc"):
        with pytest.raises(BadRequest, match=r"Write e\.g\."):
            job_yaml(Form(clips=clips), "assets/clips")


def test_controls_write_their_part_of_the_yaml_and_leave_the_rest() -> None:
    before = "clips: [{dataset: x}]\nsweep: {steps: [4, 8], texts: [a]}\nlimits: {hours: 2}\nplanners: [joint]\n"
    after = content_of(Form(seeds="7"), before)
    assert after["limits"] == {"hours": 2}
    assert after["sweep"] == {"texts": [None], "seeds": "7", "seconds": [4.0], "steps": [4, 8]}
    assert "planners" not in after
    assert content_of(Form(), "[broken") == content_of(Form(), "jobs: []") == content_of(Form())


def test_the_controls_come_back_through_their_link() -> None:
    form = Form(kind="stitch", clips="0-2@1", seeds="4", variant="sky_near", thing="cone", seconds=2.5)
    assert form_in(asked_by(Link.parse(link_of(form).query))) == form
    assert link_of(Form()).values == {"kind": "imagine"}
    for values in (
        {"variant": "up"},
        {"out": "/etc"},
        {"seconds": "nan"},
        {"seconds": "999"},
        {"kind": "rm"},
        {"thing": "x"},
    ):
        with pytest.raises((BadRequest, UnknownName)):
            asked_by(Link(page="jobs", values=values), 60.0)
    with pytest.raises(BadRequest, match="Move 'Seconds"):
        form_in({**asked_by(Link(page="jobs")), "seconds": None})


def test_names_become_paths_and_the_model_is_the_studios(site: Site, drives: Dataset) -> None:
    ready = guarded(
        {"clips": [{"dataset": shipped_name(site)}, {"dataset": ""}, {"dataset": "s3://b/x"}]}, site, "anna"
    )
    assert [one["dataset"] for one in ready["clips"]] == [str(drives.path), str(drives.path), "s3://b/x"]
    assert ready["model"] == str(site.model.folder)
    assert ready["limits"] == {"units": 10_000}
    assert guarded({"limits": {"units": 3, "hours": 1}}, site, "anna")["limits"] == {"units": 3, "hours": 1}
    assert guarded({"sweep": {"actions": [{"file": "turn.csv"}]}}, site, "anna")["sweep"]["actions"] == [
        {"file": str(Path.cwd() / "turn.csv")}
    ]


@pytest.mark.parametrize(
    ("job", "advice"),
    [
        ({"clips": [{"dataset": "/etc"}]}, "not open here"),
        ({"clips": [{"dataset": "s3://bucket/clips"}]}, "not open here"),
        ({"clips": [{"dataset": "file:///etc"}]}, "not open here"),
        ({"clips": [{"dataset": "../*"}]}, "not open here"),
        ({"clips": [{"dataset": "mine/../../other/datasets/x"}]}, "no upload"),
        ({"clips": [{"dataset": "mine/*"}]}, "no upload"),
        ({"jobs": [{"clips": [{"dataset": "/etc"}]}]}, "not open here"),
        ({"model": "/home/somebody/model"}, "Leave out `model`"),
        ({"model": "wan:somebody/else"}, "Leave out `model`"),
        ({"planners": ["process:rm -rf /"]}, "runs none"),
        ({"planners": ["policy.py:Mine"]}, "runs none"),
        ({"planners": ["/etc"]}, "unknown planner"),
        ({"clips": [{"dataset": "~nobody-of-this-name/x"}]}, "not open here"),
        ({"jobs": [{"planners": ["python:os:system"]}]}, "runs none"),
        ({"sweep": {"actions": [{"file": "/etc/passwd"}]}}, "draw the path"),
        ({"jobs": [{"sweep": {"actions": [{"file": "x.csv"}]}}]}, "draw the path"),
        ({"sweep": {"seconds": [4, 600]}}, "shared, and 16 is the most"),
        ({"sweep": {"steps": [500]}}, "shared, and 32 is the most"),
        ({"samples": 200}, "shared, and 16 is the most"),
        ({"execution": {"batch": 64}}, "shared, and 4 is the most"),
        ({"execution": {"threads": 64}}, "shared"),
        ({"execution": {"device": "cuda"}}, "shared"),
    ],
)  # fmt: skip
def test_a_job_file_from_elsewhere_names_only_what_its_visitor_may_open(
    shared: Site, job: dict[str, object], advice: str
) -> None:
    with pytest.raises((BadDataset, BadRequest, UnknownName), match=advice):
        guarded(job, shared, "anna")


def test_what_is_no_job_passes_the_guard_and_is_told_by_the_job_file(shared: Site) -> None:
    for strange in (
        {"clips": 3, "sweep": [], "jobs": "x", "limits": 7, "execution": "y"},
        {"clips": [None, {}, {"dataset": 3}]},
    ):
        guarded(strange, shared, "anna")
    assert guarded({"limits": {"units": 9999}}, shared, "anna")["limits"] == {"units": 24}
    upload = shared.visitors.folder("anna") / "datasets" / "mine"
    shutil.copytree(shared.clips, upload)
    with pytest.raises(BadRequest, match="'mine/mine' has no episode '9'"):
        planned("clips: [{dataset: mine/mine, episodes: '9'}]", shared, "anna")
    with pytest.raises(BadTable, match="holds no"):
        planned("- a list", shared, "anna")
    with pytest.raises(BadTable, match="Did you mean 'seeds'"):
        planned("clips: [{dataset: ''}]\nsweep: {sedes: 3}", shared, "anna")


def test_a_job_is_planned_and_becomes_one_command_in_the_visitors_folder(shared: Site) -> None:
    text = job_yaml(Form(clips="0, 1@2", seeds="0-1", seconds=1.0, text="--out=/etc"), shipped_name(shared))
    plan = planned(text, shared, "anna")
    assert len(plan.batch.units) == 4
    told = batch_shown.plan_of(plan)
    assert "4 units in all" in told
    assert "reference numbers" in told
    order = batch_order(text, shared, "anna", workers=8, plan=plan)
    unit, folder = order.units[0], shared.visitors.folder("anna")
    assert (order.kind, order.gentle, order.keeps, len(order.parts)) == ("jobs", True, False, 4)
    assert unit.out is not None
    assert unit.out.is_relative_to(folder)
    assert unit.words[:2] == ("jobs", "run")
    assert "--workers=1" in unit.words, "others use this machine, too"
    assert unit.words[-2] == "--"
    assert Path(unit.words[-1]).is_relative_to(folder)
    assert job_of(Path(unit.words[-1]).read_text(), "it").parts()[0].sweep.texts == ("--out=/etc",)
    assert next(iter(order.parts.values())).startswith("one @ ")
    done = TaskView(id="1", order=order, state="done", units=(UnitView(unit=unit, state="done"),))
    assert jobs_shown.commands_of(done) == "detour jobs run --out=batch --workers=1 job.yaml"
    with pytest.raises(BadRequest, match="Leave it empty"):
        batch_order(text, shared, "anna", keep="/tmp/x", plan=plan)
    with pytest.raises(BadRequest, match="62 units"):
        planned(text.replace("0-1", "0-30"), shared, "anna")
    shared.close_all()


def told(out: Path, *events: dict[str, object] | str) -> None:
    (out / "events").mkdir(parents=True, exist_ok=True)
    with (out / "events" / "all.jsonl").open("a") as file:
        file.writelines(event if isinstance(event, str) else json.dumps(event) + "\n" for event in events)


def test_units_are_followed_through_what_the_driver_tells(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "events" / "all.jsonl")
    assert follower.now() == {}
    told(
        tmp_path,
        {"event": "run_began"},
        {"event": "work_began", "work": 0, "keys": [KEY]},
        {"event": "work_began", "work": 1, "keys": [OTHER]},
    )
    told(
        tmp_path,
        {"event": "work_advanced", "work": 0, "chunk": 1, "chunks": 4},
        "{torn",
        '\n[]\n{"event": "unit_done"}\n',
    )
    now = follower.now()
    assert [(one.state, one.share) for one in now.values()] == [("running", 0.25), ("running", 0.0)]
    told(
        tmp_path,
        {"event": "worker_lost", "work": 1, "why": "killed by signal 9"},
        {"event": "warned", "message": "the disk is full"},
    )
    assert (follower.now()[OTHER].state, follower.notes) == ("waiting", ["the disk is full"])
    told(tmp_path, {"event": "unit_done", "key": KEY, "number": 0, "seconds": 2.5, "bytes": 9})
    told(tmp_path, {"event": "unit_again", "key": OTHER, "number": 1, "message": "no answer"})
    assert [(one.state, one.seconds) for one in follower.now().values()] == [("done", 2.5), ("again", 0.0)]
    told(tmp_path, {"event": "unit_failed", "key": OTHER, "number": 1, "kind": "BadVideo", "message": BAD})
    assert follower.now()[OTHER].reason == f"BadVideo: {BAD}"
    told(tmp_path, {"event": "work_began", "work": 1, "keys": [OTHER]})
    assert follower.now()[OTHER].state == "running"
    told(tmp_path, {"event": "run_began"})
    assert follower.now()[OTHER].state == "waiting", "the run that did it is over"
    assert follower_of(tmp_path) is follower_of(tmp_path)


def view_of(out: Path, state: str = "running", **parts: str) -> TaskView:
    unit = Unit(label="batch", words=("jobs", "run"), out=out)
    order = Order(kind="jobs", title="Batch", units=(unit,), gentle=True, parts=parts)
    return TaskView(id="1", order=order, state=state, units=(UnitView(unit=unit, state="running"),))  # type: ignore[arg-type]


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """A folder with one finished unit, and one that failed."""
    out = tmp_path / "batch"
    place = out / "units" / KEY[:2] / KEY
    place.mkdir(parents=True)
    (place / "poster.jpg").write_bytes(b"\xff\xd8 a picture")
    (place / "unit.json").write_text(json.dumps({"scores": {"psnr": 20.5, BAD: 1.0}}))
    (out / "batch.json").write_text("{}")
    (out / "index.html").write_text("<script>1</script>")
    told(out, {"event": "unit_done", "key": KEY, "number": 0, "seconds": 2.5, "bytes": 9})
    told(out, {"event": "unit_failed", "key": OTHER, "number": 1, "kind": "BadVideo", "message": BAD})
    return out


def test_units_posters_and_the_index_are_shown_and_nothing_else_is(done: Path) -> None:
    view = view_of(done, **{KEY: f"one {BAD}", OTHER: "two", "a" * 32: "three"})
    table = batch_shown.units_table(view)
    assert "Units: 1 done, 1 failed, 1 waiting" in table
    assert table.index("two") < table.index("three") < table.index("one "), "what went wrong comes first"
    assert "BadVideo" in table
    posters, index, one = batch_shown.posters_of(view), batch_shown.index_of(view), batch_shown.unit_of(view, KEY)
    assert posters.count("data:image/jpeg;base64,") == 1
    assert 'sandbox=""' in index
    assert "20.500" in one
    for html in (table, posters, one):
        assert BAD not in html
    assert batches.results_of(view) == []
    assert batches.results_of(replace(view, state="stopped")) == [("All units (index)", "index"), (f"one {BAD}", KEY)]
    assert "not there any more" in batch_shown.unit_of(view, "../../../etc")
    assert "1 of 3 units failed" in batch_shown.status_of(replace(view, state="failed"))
    assert "<td>1 of 3</td>" in jobs_shown.list_of([view])
    assert "not done" in batch_shown.units_table(replace(view, state="stopped"))
    assert batch_shown.posters_of(view_of(done.parent / "nowhere")) == ""


def test_units_that_another_driver_did_are_known_by_their_folders(done: Path) -> None:
    (done / "events" / "all.jsonl").unlink()
    view = view_of(done, **{KEY: "one", OTHER: "two"})
    assert [unit.state for _, unit in batches.units_of(view)] == ["waiting", "waiting"]
    told(done, {"event": "run_began", "kept": 1})
    assert [unit.state for _, unit in batches.units_of(view)] == ["done", "waiting"]


def test_scores_and_a_zip_of_a_batch_need_one_that_has_ended(done: Path, tmp_path: Path) -> None:
    view = view_of(done, **{KEY: "one"})
    assert batches.score_order(view).units[0].words == ("jobs", "score", "--", str(done))
    with pytest.raises(BadRequest, match="wrote no batch"):
        batches.score_order(view_of(tmp_path / "nowhere"))
    with pytest.raises(BadRequest, match="or stop it"):
        _packed(view, tmp_path)
    assert _packed(replace(view, state="stopped"), tmp_path).name == "batch.zip"


class Gentle:
    """A batch that finishes what it is at when it is asked once."""

    asked: list[float]

    def __init__(self, words: Sequence[str], hear: Callable[[str], None]) -> None:
        self.over = threading.Event()

    def stop(self, grace_s: float = 5.0) -> None:
        self.asked.append(grace_s)
        if grace_s < float("inf"):
            self.over.set()

    def wait(self, limit_s: float = 0.0) -> Ended:
        assert self.over.wait(5)
        return Ended(code=143, reason="", printed="")


def test_a_batch_is_stopped_once_to_finish_what_runs_and_twice_to_end_now(tmp_path: Path) -> None:
    Gentle.asked = []
    tasks = Tasks(at_once=1, launch=Gentle)  # type: ignore[arg-type]
    name = tasks.start("anna", view_of(tmp_path).order)
    while tasks.view("anna", name).units[0].state != "running":
        time.sleep(0.002)
    tasks.stop("anna", name)
    view = tasks.view("anna", name)
    assert (view.state, Gentle.asked) == ("stopping", [float("inf")])
    assert "Stop now" in study_shown.status_of(view)
    tasks.stop("anna", name)
    assert tasks.wait("anna", name, 5).state == "stopped"
    assert Gentle.asked == [float("inf"), 5.0]
    tasks.close_all()


def test_the_progress_line_of_a_batch_is_understood() -> None:
    from studio.jobs.run.progress import Progress

    line = Progress(total=12, kept=2, done=1, running=1, workers=1, elapsed_s=9.0, left_s=35.0).line()
    assert Count.of(line) == Count(done=3, total=12, things="units", left_s=35.0)
