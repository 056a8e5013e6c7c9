"""The Study page: controls, YAML and link say the same; what others may not do; what is said of studies and tasks."""

import json
import time
import xml.etree.ElementTree as ET
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from studio.live.study import shown as study_shown
from studio.live.study import studies
from studio.live.study.form import form_of, link_of, read, study_of_link, with_form
from studio.live.study.studies import allowed, exported, open_study, quick, study_order, whole
from studio.live.tasks import shown as jobs_shown
from studio.live.tasks.orders import Order, TaskView, Unit, UnitView
from studio.live.tasks.processes import Count
from studio.study_config import StudyConfig, read_study, study_yaml
from studio.study_plots import driver_plot, reactions_plot, sweep_plot
from studio.web.links import Link
from studio.web.site import Site
from worldmodel.errors import BadDataset, BadPolicy, BadRequest, BadTable, UnknownName
from worldmodel.io.lerobot import Dataset

BAD = '<img src=x onerror="alert(1)">'


@pytest.fixture
def site(drives: Dataset, tmp_path: Path) -> Site:
    return Site.open(tmp_path / "model", drives.path)


@pytest.fixture
def shared(drives: Dataset, tmp_path: Path) -> Site:
    return Site.open(tmp_path / "model", drives.path, any_folder=False)


@pytest.fixture(scope="module")
def shipped() -> studies.Study:
    found = studies.shipped_study()
    assert found is not None
    return found


@pytest.mark.parametrize("config", [quick(), whole(), StudyConfig(planners=("joint",), dataset="a b: c", kind="cone")])
def test_controls_yaml_and_link_say_the_same_study(config: StudyConfig) -> None:
    assert read(study_yaml(config)) == config
    assert study_of_link(Link.parse(link_of(config).query)) == config
    assert with_form(study_yaml(config), form_of(config)) == config


def test_the_study_that_ships_is_the_example_of_the_documents() -> None:
    assert whole() == read_study(studies.ROOT / "examples" / "studies" / "town.yaml")


def test_a_planner_that_is_taken_out_takes_its_comparisons_along() -> None:
    form = replace(form_of(quick()), planners=("joint", "rich/ik"), distances="8; 20 ,30", sizes="")
    config = with_form(study_yaml(quick()), form)
    assert (config.planners, config.comparisons, config.shown) == (("joint", "rich/ik"), (), ("rich/ik",))
    assert (config.distances_m, config.sizes) == ((8.0, 20.0, 30.0), ())


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"planners": ()}, "Choose at least one"),
        ({"distances": "8, near"}, "Write e.g. '8, 16, 25'"),
        ({"distances": "8," * 40}, "Leave some out"),
        ({"distances": "300"}, "it must be 3 to 40"),
    ],
)
def test_controls_that_make_no_study_are_refused_with_advice(changes: dict, advice: str) -> None:
    with pytest.raises(BadRequest, match=advice):
        with_form(study_yaml(quick()), replace(form_of(quick()), **changes))


def test_a_link_leaves_policies_of_ones_own_out() -> None:
    config = StudyConfig(
        planners=("joint", "mine.py:Mine"), comparisons=(("joint", "mine.py:Mine"),), shown=("mine.py:Mine",), scenes=7
    )
    assert study_of_link(link_of(config)) == StudyConfig(planners=("joint",), scenes=7)
    assert link_of(StudyConfig(planners=("mine.py:Mine",))).values == {}


def test_a_link_may_not_bring_code_or_fields_that_do_not_exist() -> None:
    for spec in ("process:touch /tmp/x", "python:os:system", "evil.py:Policy", "policy.yaml"):
        link = Link(page="study", values={"planners": f"['{spec}']"})
        with pytest.raises(BadRequest, match="Add a policy of your own on the page itself"):
            study_of_link(link)
    with pytest.raises(UnknownName, match="Did you mean 'scenes'"):
        study_of_link(Link(page="study", values={"planners": "[joint]", "scene": "3"}))
    with pytest.raises(BadTable, match="Remove it"):
        study_of_link(Link(page="study", values={"planners: [joint]\nscenes": "3"}))
    with pytest.raises(BadTable, match="field: value"):
        study_of_link(Link(page="study", values={"planners": "[joint"}))


def test_visitors_from_elsewhere_run_no_code_open_no_folders_and_keep_within_bounds(shared: Site) -> None:
    plain = StudyConfig(planners=("constant-velocity",), scenes=3)
    assert allowed(plain, shared, "anna").planners == ("constant-velocity",)
    with pytest.raises(BadRequest, match="open it on your own machine"):
        allowed(replace(plain, planners=("process:true",)), shared, "anna")
    with pytest.raises(UnknownName, match="rich/ik"):
        allowed(replace(plain, planners=("/etc",)), shared, "anna")
    with pytest.raises(BadDataset, match="not open here"):
        allowed(replace(plain, dataset="/etc"), shared, "anna")
    with pytest.raises(BadRequest, match=r"scenes is 200; .* 100 is the most here"):
        allowed(replace(plain, scenes=200), shared, "anna")
    with pytest.raises(BadRequest, match="moments_s has 40"):
        allowed(replace(plain, moments_s=tuple(2 + k / 8 for k in range(40))), shared, "anna")
    with pytest.raises(BadRequest, match="download the results"):
        study_order(plain, shared, "anna", keep="/tmp/study")
    with pytest.raises(BadRequest, match="open it on your own machine"):
        studies.check_order("process:true", shared)
    assert allowed(replace(plain, model="/elsewhere"), shared, "anna").model == str(shared.model.folder.resolve())


def test_a_study_runs_from_a_yaml_in_the_visitors_folder(site: Site, tmp_path: Path) -> None:
    config = StudyConfig(planners=("constant-velocity",), dataset=str(site.clips))
    order = study_order(config, site, "anna")
    words = order.units[0].words
    folder = site.visitors.folder("anna")
    assert order.units[0].out is not None
    assert order.units[0].out.is_relative_to(folder)
    assert words[0] == "study"
    written = read_study(Path(words[-1]))
    assert (written.planners, written.dataset) == (config.planners, str(site.clips))
    assert not order.keeps
    again = study_order(config, site, "anna", keep=str(tmp_path / "kept"))
    assert again.keeps
    assert f"--out={tmp_path / 'kept'}" in again.units[0].words
    with pytest.raises(BadRequest, match="there already"):
        study_order(config, site, "anna", keep=str(tmp_path))
    with pytest.raises(BadPolicy, match="names no policy"):
        studies.check_order("nothing", site)
    site.close_all()


@pytest.mark.slow
def test_a_study_that_was_stopped_goes_on_with_the_scenes_that_are_left(site: Site) -> None:
    config = StudyConfig(
        planners=("constant-velocity",), variants=("near", "empty"), primary=(), scenes=4, seed=40963, samples=1, cameras=1, width_px=64,
        height_px=32, history_s=0.5,
    )  # fmt: skip
    order = study_order(config, site, "anna")
    out = order.units[0].out
    assert out is not None
    task = site.tasks.start("anna", order)
    while (now := site.tasks.view("anna", task)).count is None:
        assert not now.ended, now.log
        time.sleep(0.02)
    site.tasks.stop("anna", task)
    stopped = site.tasks.wait("anna", task, 20)
    assert stopped.state == "stopped", "it ended before it could be stopped; make it larger"
    kept = {path.name for path in out.with_name("study.partial").glob("0*")}
    assert 1 <= len(kept) < 4
    site.tasks.resume("anna", task)
    assert site.tasks.wait("anna", task, 60).state == "done"
    study = open_study(out, "mine")
    assert study.summary["frames"]["scenes"] == 4
    assert study.rows is not None
    assert exported(study, site.visitors.folder("anna")).keys() == {"report", "rows", "all"}
    assert study_shown.driver_pairs(study, "constant velocity")
    site.close_all()
    assert not out.exists()


def test_the_study_that_ships_is_there_at_the_first_visit(shipped: studies.Study) -> None:
    lead = study_shown.lead_of(shipped)
    assert "This is the study that ships" in lead
    assert "205 of 480 scenes" in lead
    assert len(shipped.planners) == 14
    assert shipped.rows is None
    assert study_shown.driver_pairs(shipped, "ik (rich)") == []
    assert study_shown.goals_of(shipped).count("<tr>") == 15
    assert "sky near" in study_shown.planner_of(shipped, "ik (rich)")
    html = study_shown.examples_of(shipped)
    assert html.count("<img") == html.count('alt="') == 6
    assert 'sandbox=""' in study_shown.report_of(shipped)


def test_figures_hold_every_planner_with_its_interval_in_metres(shipped: studies.Study) -> None:
    figure = reactions_plot(shipped.summary["reactions"])
    assert [trace.name for trace in figure.data] == ["near", "sky near", "far", "sky far"]
    near = figure.data[0]
    row = next(row for row in shipped.summary["reactions"] if row["variant"] == "near")["reaction_m"]
    assert list(near.customdata[0][1:]) == [row["mean"], row["low"], row["high"]]
    assert near.x[0] ** 2 == pytest.approx(row["mean"])
    assert (near.x[0] + near.error_x.array[0]) ** 2 == pytest.approx(row["high"])
    assert figure.layout.xaxis.title.text.endswith(", m")
    swept = sweep_plot(shipped.summary["sweep"], "distance", ["ik (rich)", "joint"])
    assert [trace.name for trace in swept.data] == ["ik (rich)", "joint", "the town's driver"]
    assert list(swept.data[0].x) == [8.0, 12.0, 16.0, 20.0, 25.0, 30.0, 35.0]
    assert len(driver_plot([(-3.0, -2.0), (-20.0, 0.0)], "mine").data[1].x) == 2
    assert reactions_plot([]).data == ()


def test_a_folder_without_a_study_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match="detour study"):
        open_study(tmp_path, "x")
    (tmp_path / "study.json").write_text('{"request": 1}')
    with pytest.raises(BadTable, match="another kind of file"):
        open_study(tmp_path, "x")


def test_what_a_foreign_study_says_is_shown_as_text_and_its_pictures_run_no_script(tmp_path: Path) -> None:
    record = json.loads((studies.SHIPPED / "study.json").read_text())
    record["summary"]["reactions"][0]["planner"] = BAD
    record["summary"]["goals"][0]["planner"] = BAD
    record["request"]["kind"] = BAD
    tmp_path = tmp_path / "study"
    (tmp_path / "figures").mkdir(parents=True)
    (tmp_path / "study.json").write_text(json.dumps(record))
    (tmp_path / "figures" / "01.svg").write_text("<svg><script>alert(1)</script></svg>")
    (tmp_path / "report.md").write_text(f"# x\n\n## Examples\n\n![{BAD}](figures/01.svg)\n\n## End\n")
    (tmp_path / "report.html").write_text(f'<p>"{BAD}"</p>')
    study = open_study(tmp_path, BAD)
    parts = (study_shown.lead_of(study), study_shown.goals_of(study), study_shown.planner_of(study, BAD))
    for html in (*parts, study_shown.examples_of(study), study_shown.report_of(study)):
        assert BAD not in html
        assert "<script" not in html
    copies = exported(study, tmp_path)
    assert copies["all"].is_relative_to(tmp_path / "exports")
    with zipfile.ZipFile(copies["all"]) as archive:
        assert set(archive.namelist()) == {"study.json", "report.md", "report.html", "figures/01.svg"}
    frame = ET.fromstring(study_shown.report_of(study))
    assert (frame.get("sandbox"), frame.get("srcdoc")) == ("", f'<p>"{BAD}"</p>')


def view(state: str, *units: UnitView, **more: object) -> TaskView:
    order = Order(kind="imagine", title=BAD, units=tuple(one.unit for one in units))
    return TaskView(id="1", order=order, state=state, units=units, **more)  # type: ignore[arg-type]


def unit(state: str, **more: object) -> UnitView:
    return UnitView(unit=Unit(label=BAD, words=("imagine", "--text=" + BAD)), state=state, **more)  # type: ignore[arg-type]


def test_progress_is_said_with_what_is_left_and_failures_with_their_reason() -> None:
    count = Count(done=1, total=4, things="chunks", left_s=9)
    running = view("running", unit("done", seconds=3.0), unit("running"), count=count, left_s=9.0, seconds=75.0)
    told = study_shown.status_of(running)
    assert "1 of 4 chunks · 1 min 15 s so far · about 9 s left" in told
    assert 'value="0.625"' in told
    assert "2 before you" in study_shown.status_of(view("waiting", unit("waiting"), ahead=2))
    failed = view("failed", unit("failed", reason=BAD), unit("done"), log=(BAD,))
    assert "1 of 2 failed" in study_shown.status_of(failed)
    assert "failed: &lt;img" in jobs_shown.units_of(failed)
    for html in (
        told,
        study_shown.status_of(failed),
        study_shown.log_of(failed),
        jobs_shown.list_of([failed, running]),
    ):
        assert BAD not in html


def test_what_check_policy_found_is_shown_in_a_table() -> None:
    report = {
        "name": BAD,
        "moments": ["a", "b"],
        "problems": [{"check": "frame", "place": "clip 0", "message": BAD}],
        "notes": [],
        "latency_ms": {"median": 12.0},
    }
    html = study_shown.checked(view("failed", unit("failed", printed=json.dumps(report))))
    assert "1 problem found. Answers take 12 ms." in html
    assert BAD not in html
    assert "no such file" in study_shown.checked(view("failed", unit("failed", reason="no such file")))
