import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from studio import cli
from studio.score_sides import sides_of
from studio.scoring import ScoreRequest, compare_with, networks_for, parsed_size, run_score
from worldmodel.errors import BadCheckpoint, BadDataset, BadRequest, BadTable, OutputExists, UnknownName
from worldmodel.io.video import write_video

CAMERAS = ("front", "left")


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def picture_row(rng, frames, height=32, width=64):
    coarse = rng.integers(0, 256, size=(3, height // 8, width // 8), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    return np.stack([np.roll(coarse, 2 * t, axis=2) for t in range(frames)])


def write_run(folder, rng, videos, clip="drives:0@1"):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"request": {"clip": clip}}))
    for name, (frames, rate, width) in videos.items():
        target = folder / "videos" / name
        target.mkdir(parents=True)
        for camera in (*CAMERAS, "mosaic"):
            write_video(target / f"{camera}.mp4", picture_row(rng, frames, width // 2, width), rate)
    return folder


def folder_of(path, rng, count=3, frames=9):
    path.mkdir()
    for i in range(count):
        write_video(path / f"{i}.mp4", picture_row(rng, frames), 8.0)
    return path


def test_a_run_is_scored_against_what_followed_at_its_own_size_rate_and_length(rng, tmp_path):
    run = write_run(
        tmp_path / "run", rng, {"seen": (4, 8.0, 64), "imagined": (10, 8.0, 64), "followed": (30, 16.0, 128)}
    )
    scores = run_score(ScoreRequest(a=str(run), metrics=("psnr",)))
    card = scores["PSNR"].card
    assert (card.frames, card.frequency_hz, card.size, card.cameras) == (10, 8.0, "64x32", "2, pooled")
    assert card.conversion == "generated: none; real: nearest frames of 16 Hz; to 64x32, antialiased bilinear"


def test_a_folder_of_runs_is_many_clips(rng, tmp_path):
    videos = {"imagined-1": (9, 8.0, 64), "imagined-as-driven": (9, 8.0, 64), "followed": (9, 8.0, 64)}
    for i in range(3):
        write_run(tmp_path / "runs" / f"run-{i}", rng, videos)
    scores = run_score(ScoreRequest(a=str(tmp_path / "runs"), metrics=("psnr", "fvd"), per_camera=True))
    assert scores.clips == 3
    assert scores["PSNR"].interval is not None
    assert "PSNR camera left" in {score.name for score in scores.scores}
    other = run_score(ScoreRequest(a=str(tmp_path / "runs"), metrics=("psnr",), video="imagined-1"))
    assert other["PSNR"].value != scores["PSNR"].value
    with pytest.raises(UnknownName, match="Did you mean 'imagined-1'"):
        run_score(ScoreRequest(a=str(tmp_path / "runs"), metrics=("psnr",), video="imagined-11"))


def test_a_run_without_its_truth_says_how_to_name_it(rng, tmp_path):
    run = write_run(tmp_path / "run", rng, {"imagined": (9, 8.0, 64)})
    with pytest.raises(BadDataset, match=r"does not hold what followed, only imagined.*score .*run drives:0@1"):
        sides_of(str(run), None)
    several = {"imagined-1": (9, 8.0, 64), "imagined-2": (9, 8.0, 64), "followed": (9, 8.0, 64)}
    run = write_run(tmp_path / "several", rng, several)
    with pytest.raises(BadDataset, match=r"none stands for what followed\. Name one with --video"):
        sides_of(str(run), None)
    with pytest.raises(BadDataset, match="is no run folder, so it does not know its truth"):
        sides_of(str(folder_of(tmp_path / "plain", rng)), None)


def test_a_run_is_scored_against_a_moment_of_a_dataset(drives, rng, tmp_path):
    width, rate = drives.rig.width_px, drives.frequency_hz
    run = write_run(tmp_path / "run", rng, {"imagined": (3, rate, width)})
    sides = sides_of(str(run), f"{drives.path}:one@0.5")
    first = round(0.5 * rate) + 1
    np.testing.assert_array_equal(sides.b.read(sides.b.names[0], np.arange(2)), drives.frames(0, [first, first + 1]))
    assert sides.b.names == sides.a.names
    assert sides.b.rig is not None


def test_scores_are_written_compared_and_refused_when_made_unlike(rng, tmp_path, monkeypatch):
    a, b = folder_of(tmp_path / "a", rng), folder_of(tmp_path / "b", rng)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    done = run(cli.main, ["score", "a", "b", "--metrics", "psnr"])
    assert done.exit_code == 0, done.output
    assert "PSNR" in done.stdout
    assert json.loads((tmp_path / "scores.json").read_text())["scores"][0]["name"] == "PSNR"
    again = run(cli.main, ["score", "a", "b", "--metrics", "psnr"])
    assert again.exit_code == 2
    assert "'scores.json' exists already" in again.stderr
    shutil.copytree(a, tmp_path / "c")
    like = run(cli.main, ["score", "c", "b", "--metrics", "psnr", "--out", "two.json", "--compare", "scores.json"])
    assert like.exit_code == 0, like.output
    assert "+0" in like.stdout
    unlike = run(
        cli.main, ["score", "a", "b", "--metrics", "psnr", "--frames", "4", "--json", "--compare", "scores.json"]
    )
    assert unlike.exit_code == 2
    assert "frames: 4 against 9" in unlike.stderr
    with pytest.raises(BadTable, match="cannot be read as scores"):
        compare_with(run_score(ScoreRequest(a=str(a), b=str(b), metrics=("psnr",))), tmp_path / "none.json")


def test_the_towns_own_network_needs_no_download_and_is_named(rng, tmp_path):
    a, b = folder_of(tmp_path / "a", rng), folder_of(tmp_path / "b", rng)
    scores = run_score(ScoreRequest(a=str(a), b=str(b), metrics=("fid", "fvd", "kvd")))
    names = [score.name.partition("[") for score in scores.scores]
    assert [name for name, _, _ in names] == ["FD", "FVD", "KVD"]
    assert all(network.startswith("town-r2p1d-") for _, _, network in names)
    assert all(len(score.card.network_hash) >= 8 for score in scores.scores)


def test_presets_count_as_published(rng, tmp_path):
    a, b = folder_of(tmp_path / "a", rng, frames=25), folder_of(tmp_path / "b", rng, frames=25)
    with pytest.raises(BadRequest, match="has 8 Hz, but 10 Hz are wanted"):
        run_score(ScoreRequest(a=str(a), b=str(b), preset="vista"))
    options = {"frequency_hz": 8.0, "size": (64, 32)}
    scores = run_score(ScoreRequest(a=str(a), b=str(b), preset="vista", **options))
    fid, fvd = scores.scores
    assert (fid.n_a, fid.card.frames, fvd.card.frames) == (3 * 24, 24, 25)
    assert fid.card.preset == "vista, with another frequency_hz, size"


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"metrics": ("psnrr",)}, UnknownName, "Did you mean 'psnr'"),
        ({"preset": "visat"}, UnknownName, "Did you mean 'vista'"),
        ({"metrics": ("lpips",)}, BadRequest, "lpips needs a backbone.*--weights FILE"),
        ({"metrics": ("fid",), "features": "towne"}, BadRequest, "they must be 'town', 'tokenizer' or a folder"),
        ({"metrics": ("consistency",)}, UnknownName, "unknown metric"),
    ],
)
def test_bad_requests_are_refused_with_advice(rng, tmp_path, request_, error, message):
    a, b = folder_of(tmp_path / "a", rng), folder_of(tmp_path / "b", rng)
    with pytest.raises(error, match=message):
        run_score(ScoreRequest(a=str(a), b=str(b), **request_))


def test_a_wrong_weights_file_is_refused_with_its_hash(tmp_path):
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"not a network")
    with pytest.raises(BadCheckpoint, match=r"is no known feature network.*sha256"):
        networks_for(("fid",), ScoreRequest(a="a", weights=(wrong,)))


def test_sizes_are_read_and_outputs_not_overwritten(tmp_path):
    assert (parsed_size("256x128"), parsed_size("")) == ((256, 128), None)
    with pytest.raises(BadRequest, match="WIDTHxHEIGHT"):
        parsed_size("256")
    (tmp_path / "scores.json").touch()
    with pytest.raises(OutputExists, match="exists already"):
        run_score(ScoreRequest(a="a", b="b"), tmp_path / "scores.json")
