"""`detour bench town`: what it measures and how it says it."""

import pytest
from typer.testing import CliRunner

from studio import bench_town
from studio.cli import main


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_town, "CASES", (("empty_road", "rain", 22.0),))
    monkeypatch.setattr(bench_town, "WIDTH_PX", 48)
    monkeypatch.setattr(bench_town, "HEIGHT_PX", 32)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_town_bench_prints_a_table_and_names_machine_and_threads() -> None:
    result = CliRunner().invoke(main, ["bench", "town", "--frames", "2", "--repeats", "2", "--threads", "1"])
    assert result.exit_code == 0, result.output
    for text in ("empty_road", "rain", "without AA", "PSNR dB", "1 threads", "cores"):
        assert text in result.output


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_rates_are_positive_and_antialiasing_is_close_to_full_supersampling() -> None:
    (row,) = bench_town.run_town_bench(frames=2, repeats=2, threads=1)
    assert row.rough_fps > 0
    assert row.smooth_fps > 0
    assert row.simulated_per_s > 0
    assert 40 <= row.psnr_db <= bench_town.BEST_PSNR_DB


@pytest.mark.parametrize("option", [["--frames", "0"], ["--repeats", "0"], ["--threads", "0"], ["--frames", "99"]])
def test_impossible_measurements_are_refused(option: list[str]) -> None:
    result = CliRunner().invoke(main, ["bench", "town", *option])
    assert result.exit_code == 2
    assert "Choose numbers in between" in result.output
