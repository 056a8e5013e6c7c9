"""`detour bench scores`: our formulas beside other libraries, what is said when one is missing, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

from studio import bench_formulas
from studio.bench_scores import Compared, ScoresBench, scores_table
from studio.cli import main

SMALL = ScoresBench(width=12, few=5, many=60, subsets=2, clips=0, threads=1)
SMALL_OPTIONS = [
    "--width",
    "12",
    "--few",
    "5",
    "--many",
    "60",
    "--subsets",
    "2",
    "--threads",
    "1",
    "--clock",
    "processor",
]


def alone(monkeypatch):
    monkeypatch.setattr(bench_formulas, "library", lambda name: None)


def test_without_other_libraries_rows_have_our_time_and_a_word(monkeypatch):
    alone(monkeypatch)
    rows = [*bench_formulas.kernel_rows(SMALL), *bench_formulas.picture_rows(SMALL)]
    assert [row.what for row in rows][:2] == ["12 features, 2 subsets of 60", "SSIM, 448x256"]
    assert all(row.seconds > 0 and row.peer_seconds is None and row.note == "not installed" for row in rows)
    text = scores_table(rows, SMALL, {"processor": "p", "cores": 1, "threads": 1, "load_1min": 0, "torch": "2"})
    for word in ("torch-fidelity; not installed", "scikit-image", "times as fast", "wall clock", "1 threads"):
        assert word in text


def test_scipy_is_always_there_and_agrees_where_covariances_are_regular(monkeypatch):
    alone(monkeypatch)
    rows = [row for row in bench_formulas.frechet_rows(SMALL) if row.peer_seconds is not None]
    assert [(row.what, row.need) for row in rows] == [("12 features, 5 samples", 100), ("12 features, 60 samples", 2)]
    assert rows[0].difference < 1e-6
    assert rows[1].difference < 1e-12


def test_how_many_times_as_fast_is_their_time_over_ours():
    row = Compared(
        part="p", what="w", seconds=2.0, peer="them", peer_seconds=5.0, difference=0.0, scale="of it", need=2.0
    )
    assert row.faster == 2.5
    table = scores_table([row], SMALL, {"processor": "p", "cores": 1, "threads": 1, "load_1min": 0, "torch": "2"})
    assert "2.50 (need 2)" in table
    assert "0.0e+00 of it" in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--width", "1"], "1 features are asked for; it must be 2 to 16384. Choose a number in between"),
        (["--few", "9000"], "9000 few samples are asked for; it must be 2 to 5000"),
        (["--repeats", "0"], "0 repeats"),
        (["--clock", "wal"], "wall"),
    ],
)
def test_impossible_measurements_are_refused(options, message):
    result = CliRunner().invoke(main, ["bench", "scores", *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@pytest.mark.slow
def test_all_libraries_agree_on_the_same_inputs():
    result = CliRunner().invoke(main, ["bench", "scores", *SMALL_OPTIONS, "--clips", "2", "--frames", "2", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    rows = {f"{row['part']}, {row['what']}, {row['peer']}": row for row in found["rows"]}
    assert len(rows) == 13
    for name, row in rows.items():
        assert row["seconds"] > 0, name
        assert (row["peer_seconds"] is None) == (row["peer"] == "no library here"), name
        limit = 1e-6 if "5 samples" in name or "coverage" in name else 1e-5 if "extraction" in name else 1e-9
        assert row["difference"] is None or row["difference"] < limit, name
    (extraction,) = (row for row in found["rows"] if row["part"] == "extraction")
    assert extraction["need"] == 1
    assert "MiB" in extraction["note"]
