import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_batches import NASTY, Made, batch_of, finish, shared_batch

from studio.jobs.exports.finished import Finished
from studio.jobs.exports.selection import Selection
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.manifest import place_of
from studio.jobs.results.score_sides import Recordings
from studio.jobs.results.scores import score_batch, sweeps_of
from studio.scoring import ScoreRequest, run_score
from worldmodel.errors import BadDataset, BadRequest, UnknownName
from worldmodel.io.lerobot import Dataset


@pytest.fixture(scope="module")
def made(drives: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return shared_batch(drives, tmp_path_factory)


def test_a_batch_is_scored_against_what_followed_in_all_and_by_text(made):
    seen: list[tuple[int, int]] = []
    found = score_batch(str(made.out), ("psnr", "ssim"), by="text", on_clip=lambda *done: seen.append(done))
    assert [(group.title, group.units, group.moments) for group in found.groups] == [
        ("all units", 4, 2),
        ("text: as recorded", 2, 2),
        (f"text: {NASTY}", 2, 2),
    ]
    whole = found.groups[0].scores
    assert 30 < whole["PSNR"].value < 45  # noise of at most 6 grey levels, and the encoder
    mean = sum(group.scores["PSNR"].value for group in found.groups[1:]) / 2
    assert whole["PSNR"].value == pytest.approx(mean)
    assert (whole["PSNR"].card.frames, whole["PSNR"].card.codec) == (8, "mp4 against dataset")
    assert seen[-1] == (4, 4)  # each clip is read once for all groups
    assert json.loads((made.out / "scores.json").read_text()) == json.loads(json.dumps(found.to_json()))
    assert "Scores against what followed" in (made.out / "index.html").read_text(encoding="utf-8")


def test_units_that_cannot_be_compared_are_listed_and_are_no_zeros(made):
    found = score_batch(str(made.out), ("psnr",))
    why = {one.number: one.why for one in found.left_out}
    assert set(why) == {4, 5, 6}
    assert why[4] == "not done yet"
    assert why[5].startswith("failed, BadVideo: 'front.mp4' has <12> frames")
    assert "has an edit, which no recording shows. Use --by edit" in why[6]
    assert found.groups[0].scores.clips == 4
    assert any("unit 5" in line for line in found.lines())


def test_units_of_one_moment_are_said_to_be_no_independent_clips(made):
    found = score_batch(str(made.out), ("psnr",), selection=Selection(episodes=("one",)))
    score = found.groups[0].scores["PSNR"]
    assert any("2 units of 1 moments" in note for note in score.card.notes)
    assert (score.floor, score.card.floor_rule) == (None, "none, as real clips repeat")
    assert found.left_out == () or {one.number for one in found.left_out} == {6}


def test_a_metric_with_too_few_clips_or_frames_is_missing_with_its_reason(made):
    one = Selection(episodes=("one",), text="left")
    found = score_batch(str(made.out), ("psnr", "fvd"), selection=one, seconds=0.125)
    group = found.groups[0]
    assert [score.name for score in group.scores.scores] == ["PSNR"]
    assert "1 frames are compared, but its network needs" in group.lacks["fvd"]
    assert any(line.startswith("  no fvd: ") for line in group.lines())


def test_futures_are_compared_over_the_shortest_horizon_and_by_seconds_over_their_own(made, tmp_path):
    first = made.batch.units[0].request
    batch = batch_of([replace(first, seconds=seconds) for seconds in (0.5, 1.0, 6.0)])
    folder = BatchFolder.begin(str(tmp_path / "out"), batch)
    with folder.lock():
        finish(folder, batch.units[:2], made.dataset, tmp_path / "scratch")
    found = score_batch(str(tmp_path / "out"), ("psnr",), by="seconds")
    assert [(group.title, group.units, group.frames) for group in found.groups] == [
        ("all units", 2, 4),
        ("seconds: 0.5 s", 1, 4),
        ("seconds: 1 s", 1, 8),
    ]
    assert [one.why for one in found.left_out] == ["not done yet"]


def test_nothing_to_compare_is_refused_with_a_way_out(made):
    with pytest.raises(BadDataset, match="no unit can be compared"):
        score_batch(str(made.out), ("psnr",), selection=Selection(text="nobody said this"))
    with pytest.raises(BadRequest, match=r"5 s are to be compared; units have 1 s"):
        score_batch(str(made.out), ("psnr",), seconds=5)
    with pytest.raises(UnknownName, match="Did you mean 'memory'"):
        sweeps_of("text, memori")
    with pytest.raises(UnknownName, match="psn"):
        score_batch(str(made.out), ("psn",))


def test_a_recording_that_was_changed_since_is_not_compared_with(made):
    unit = Finished(unit=made.batch.units[0], record={"frequency_hz": 8.0, "frames": 8}, store=made.folder.storage)
    assert Recordings(Path).after(unit).frames == 39
    other = replace(unit.request, clip=replace(unit.request.clip, digest="of another recording"))
    with pytest.raises(BadDataset, match=r"recording 'one' of .* was changed. Bring that one back"):
        Recordings(Path).after(replace(unit, unit=replace(unit.unit, request=other)))


def test_a_unit_scores_as_detour_score_scores_its_films_against_the_same_moment(made, tmp_path):
    unit = made.batch.units[0]
    (tmp_path / "run" / "videos").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    shutil.copytree(made.out / place_of(unit.key) / "cameras", tmp_path / "run" / "videos" / "imagined")
    request = ScoreRequest(a=str(tmp_path / "run"), b=f"{made.dataset.path}:one@2", metrics=("psnr", "ssim"))
    expected = run_score(request)
    assert made.dataset.rig.names != tuple(sorted(made.dataset.rig.names))  # files have another order than cameras
    found = score_batch(str(made.out), ("psnr", "ssim"), selection=Selection.parse(scores=["psnr<20.5"])).groups[0]
    for name in ("PSNR", "SSIM"):
        assert found.scores[name].value == expected[name].value
