import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval_fid_fvd.presets import PRESETS
from eval_fid_fvd.results import Scores
from studio.live.polite import PoliteModel, Relay, Stopped, polite
from studio.live.scores.files import earlier_results, keep
from studio.live.scores.scoring import Scored, command, scoring
from studio.live.scores.sides import IMAGINED, choices, place_of
from studio.live.scores.wishes import ScoreWish, command_of
from studio.live.tasks.background import Reporter, Step, steps_of
from studio.pages.scores import figures as score_figures
from studio.pages.scores import page as scores
from studio.pages.scores import shown as score_shown
from studio.pages.scores.offered import linked_wish
from studio.web.links import Link
from studio.web.shared_model import SharedModel
from studio.web.site import Site
from studio.web.turns import Turns
from worldmodel.errors import BadDataset, BadRequest, BadTable, ClipTooShort, UnknownName
from worldmodel.io.lerobot import Dataset
from worldmodel.io.video import write_video

ME = "me"


@pytest.fixture
def site(tmp_path: Path, drives: Dataset):
    """A studio without a model."""
    site = Site.open(tmp_path / "none", drives.path)
    yield site
    site.close_all()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three clips of two seconds, and the same with noise; names of one markup."""
    root = tmp_path_factory.mktemp("sides")
    rng = np.random.default_rng(0)
    for side in ("made", "real"):
        (root / side).mkdir()
    for i in range(3):
        real = np.repeat(rng.integers(0, 200, (1, 3, 32, 64), dtype=np.uint8), 16, axis=0)
        write_video(root / "real" / f"<b>{i}.mp4", real, 8.0)
        noise = rng.integers(0, 40, real.shape, dtype=np.uint8)
        write_video(root / "made" / f"<b>{i}.mp4", real + noise, 8.0)
    return root / "made", root / "real"


@pytest.fixture
def wish(folders: tuple[Path, Path]) -> ScoreWish:
    return ScoreWish(a=str(folders[0]), b=str(folders[1]), metrics=("psnr", "ssim"))


def scored(site: Site, wish: ScoreWish) -> tuple[list[Step], Scored]:
    *steps, last = scoring(site, ME, wish, Turns())
    assert isinstance(last, Scored)
    return [step for step in steps if isinstance(step, Step)], last


@pytest.fixture(scope="module")
def result(folders: tuple[Path, Path]) -> Scores:
    from studio.scoring import ScoreRequest, run_score

    return run_score(ScoreRequest(a=str(folders[0]), b=str(folders[1]), metrics=("psnr", "ssim"), window_s=1.0))


def test_scoring_tells_its_progress_and_gives_numbers_with_curves_and_frames_to_look_at(site, wish):
    steps, last = scored(site, wish)
    assert any(step.what == "Scoring clip" for step in steps)
    assert {score.name for score in last.scores.scores} == {"PSNR", "SSIM"}
    assert [trend.scores[0].card.part for trend in last.scores.trends] == ["0-1 s", "0-1 s"]
    assert last.pair is not None
    assert last.pair.a.shape == last.pair.b.shape == (16, 3, 32, 64)


def test_curves_have_an_interval_and_the_level_of_real_clips_at_every_frame(result, tmp_path):
    curve = result.curves["PSNR"]
    assert len(curve.intervals) == len(curve.levels) == len(curve.values) == 16
    assert all(low <= value <= high for (low, high), value in zip(curve.intervals, curve.values, strict=True))
    assert max(curve.levels) < min(curve.values)
    result.write(tmp_path / "scores.json")
    assert Scores.read(tmp_path / "scores.json") == result


def test_a_stop_ends_the_work_and_says_so(site, wish):
    site.visitors.stop(ME)
    with pytest.raises(Stopped):
        list(scoring(site, ME, wish, Turns()))


def test_a_closed_tab_ends_the_work(site, wish, monkeypatch):
    monkeypatch.setattr("studio.web.turns.WAIT_S", 0.01)
    queue = Turns()
    with queue.turn("another"):
        views = scoring(site, ME, wish, queue)
        assert isinstance(next(views), Step)
        views.close()
        deadline = time.monotonic() + 5
        while queue.waiting() > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert queue.waiting() == 1


def test_unlike_sides_are_refused_with_the_reason(site, wish, folders, tmp_path):
    lone = tmp_path / "lone"
    lone.mkdir()
    write_video(lone / "other.mp4", np.zeros((16, 3, 32, 64), np.uint8), 8.0)
    with pytest.raises(BadRequest, match="every clip needs its partner"):
        scored(site, replace(wish, b=str(lone)))


@pytest.mark.slow
def test_the_example_imagines_futures_once_and_scores_them(site, checkpoint):
    site = replace(site, model=SharedModel(checkpoint))
    quick = ScoreWish(metrics=("psnr",))
    _, first = scored(site, quick)
    assert first.scores.clips == 2  # the third clip is too short
    assert first.pair is not None
    assert first.pair.of_a_run
    steps, again = scored(site, quick)
    assert again.scores == first.scores
    assert not any("Imagining" in step.what for step in steps)


def test_sides_are_found_by_short_names_and_other_places_stay_closed(site, drives, tmp_path):
    run = site.visitors.folder(ME) / "runs" / "tuesday"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    assert ("Your run · runs/tuesday", "runs/runs/tuesday") in choices(site, ME)
    assert choices(site, "another") == [one for one in choices(site, ME) if "runs/" not in one[1]]
    assert place_of(site, ME, "runs/runs/tuesday") == str(run.resolve())
    assert place_of(site, ME, "clips:1@2") == f"{drives.path}:1@2"
    for name in ("runs/../..", "runs//etc", "runs/.", "mine/none"):
        with pytest.raises(BadDataset, match="again"):
            place_of(site, ME, name)
    closed = Site(model=site.model, clips=site.clips, any_folder=False)
    with pytest.raises(BadDataset, match="not open here"):
        place_of(closed, ME, str(tmp_path))


def test_a_link_brings_the_settings_back():
    wish = ScoreWish(
        a="clips", b="mine/x", metrics=("fid",), frames=8, window_s=None, paired=False, size="64x32", seed=3
    )
    assert ScoreWish.of(Link.parse(wish.link().query)) == wish
    assert ScoreWish().link().values == {}
    for query in ("tab=scores&frames=many", "tab=scores&paired=perhaps", "tab=scores&colour=red"):
        with pytest.raises(BadRequest, match="the link"):
            ScoreWish.of(Link.parse(query))
    for query in ("tab=scores&metrics=fid,beauty", "tab=scores&preset=mine"):
        with pytest.raises(UnknownName, match="unknown"):
            linked_wish(Link.parse(query))
    assert linked_wish(Link.parse(wish.link().query)) == wish


def test_numbers_out_of_range_and_networks_from_files_are_refused():
    with pytest.raises(BadRequest, match="'frames' is -1"):
        ScoreWish(frames=-1)
    with pytest.raises(BadRequest, match="files are"):
        ScoreWish(weights="/etc/passwd").request("a", "b", Path("m"), any_folder=False)


def test_the_page_shows_the_command_that_scores_the_same(site, wish):
    request = replace(wish, frames=8, per_camera=True, paired=False).request("a b", "c", Path("m"), any_folder=True)
    assert command_of(request) == "detour score 'a b' c --metrics psnr,ssim --frames 8 --per-camera --unpaired"
    made, score = command(site, ME, ScoreWish()).splitlines()
    assert "detour imagine" in made
    assert score == "detour score imagined --windows 1"


def test_results_are_shown_with_units_and_whatever_is_in_names_stays_text(result):
    sick = replace(result, unreadable=(scores_unreadable(),))
    html = score_shown.table(sick) + score_shown.cards(sick)
    assert "dB" in html
    assert "nearer than another real clip" in html
    assert "pairing" in html
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def scores_unreadable():
    from eval_fid_fvd.results import Unreadable

    return Unreadable(clip="<script>alert(1)</script>", message="broken")


def test_the_figure_has_a_row_per_score_with_intervals_and_units(result):
    rows = score_figures.rows_of(result)
    figure = score_figures.curves(rows)
    assert [note.text for note in figure.layout.annotations] == ["PSNR, dB", "SSIM"]
    assert {trace.name for trace in figure.data} == {
        "95 % interval", "frame by frame", "level of real clips", "windows, 95 % interval",
    }  # fmt: skip
    assert "0-1 s" in score_figures.numbers(rows)


def test_scores_made_alike_stand_beside_each_other_and_others_are_refused_line_by_line(result, wish, tmp_path):
    folder = tmp_path / "kept"
    first = keep(result, wish, folder)
    shorter = tuple(replace(score, card=replace(score.card, frames=4)) for score in result.scores)
    other = tmp_path / "scores.json"
    replace(result, scores=shorter).write(other)
    keep(result, wish, folder)
    assert len(earlier_results(folder)) == 2
    assert "intervals overlap" in score_shown.beside(folder, first.parent.name, None)
    refused = score_shown.beside(folder, None, str(other))
    assert "cannot be compared" in refused
    assert "<li>frames: 16 against 4</li>" in refused
    other.write_text("{}")
    assert "cannot be read as scores" in score_shown.beside(folder, None, str(other))
    assert "no result to compare" in score_shown.beside(tmp_path / "none", None, None)


def test_the_page_knows_the_presets_that_there_are():
    assert set(scores.PRESETS) == set(PRESETS)


def test_widgets_left_empty_mean_what_is_usual():
    values = dict.fromkeys(("frames", "condition_frames", "frequency_hz", "seed", "b", "size"))
    assert scores.wish_from({**vars(ScoreWish()), **values}) == ScoreWish()


def test_reports_become_steps_with_the_time_that_is_left_and_errors_arrive():
    seen, given = threading.Event(), list[int]()

    def work(report: Reporter) -> int:
        report("Counting", 1, 3)
        seen.wait(10)
        return 7

    def collected():
        given.append((yield from steps_of(work)))

    steps = collected()
    assert "Counting 2 of 3" in next(steps).words()
    seen.set()
    list(steps)
    assert given == [7]

    def broken(report: Reporter) -> int:
        raise BadTable("broken")

    with pytest.raises(BadTable, match="broken"):
        list(steps_of(broken))
    assert "about 4 s left" in Step(what="x", left=4.2).words()


class Model:
    """Imagines three chunks and tells who waited meanwhile."""

    config = "the model's own"

    def __init__(self, turns: Turns) -> None:
        self.turns, self.others = turns, list[int]()

    def imagine(self, clip: str, *, on_chunk) -> str:
        for chunk in range(3):
            on_chunk(chunk, 3, None)
        return f"future of {clip}"

    def plan(self, clip: str) -> str:
        assert self.turns.waiting() == 1
        return f"plan of {clip}"


def test_a_polite_model_lets_others_in_between_chunks():
    turns = Turns()
    model = Model(turns)
    asked = polite(model, turns, ME, lambda: False)
    assert isinstance(asked, PoliteModel)
    assert asked.config == "the model's own"
    assert asked.plan("x") == "plan of x"
    done: list[str] = []

    def other() -> None:
        with turns.turn("another"):
            done.append("other")

    waits = threading.Thread(target=other)

    def on_chunk(chunk: int, chunks: int, video: None) -> None:
        if chunk == 0:
            waits.start()
            while turns.waiting() < 2:
                time.sleep(0.001)
        done.append(f"chunk {chunk}")

    assert asked.imagine("x", on_chunk=on_chunk) == "future of x"
    waits.join()
    assert done == ["chunk 0", "other", "chunk 1", "chunk 2"]
    assert turns.waiting() == 0


def test_whoever_is_stopped_leaves_the_queue(monkeypatch):
    monkeypatch.setattr("studio.web.turns.WAIT_S", 0.01)
    turns = Turns()
    stop = threading.Event()
    with turns.turn("another"), pytest.raises(Stopped), Relay(turns, ME, stop.is_set, lambda _: stop.set()):
        pass
    assert turns.waiting() == 0


def test_the_example_says_when_no_clip_is_long_enough(tmp_path, drives):
    from studio.live.scores.examples import make_example
    from worldmodel.io.lerobot import write_dataset

    write_dataset([drives.clip(2)], tmp_path / "short", name="short")
    site = Site.open(tmp_path, tmp_path / "short")
    with pytest.raises(ClipTooShort, match="needs one"):
        make_example(IMAGINED, site, ME, Reporter(), lambda: False)
    site.close_all()
