"""A run tells what its memory kept."""

from pathlib import Path

from studio.imagine import ImagineRequest, run_imagine
from worldmodel.io.lerobot import Dataset
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling


def test_a_run_with_a_selective_memory_tells_what_was_kept_and_why(
    drives: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    sampling = Sampling(memory="selective", steps=1, recent=1, video_budget=1, action_budget=2)
    request = ImagineRequest(clip=str(drives.path), seconds=3.0, sampling=sampling, model=str(checkpoint))
    record = run_imagine(request, tmp_path / "run")
    told = record["memory"]
    assert told["chunks_seen"] > told["chunks_kept"] - 1 > 2
    assert record["provenance"]["memory"] == "selective"
    assert [row["why"] for row in told["kept"]][:: len(told["kept"]) - 1] == ["sink", "recent"]
    per_chunk = told["kept"][0]
    for stream, budget in (("video", 1), ("steps", 2)):
        selected = sum(row[stream] for row in told["kept"] if row["why"] == "selected")
        assert selected == budget * per_chunk[stream]


def test_a_run_with_a_full_memory_warns_beyond_the_trained_age(
    drives: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    config = WorldModel.from_pretrained(checkpoint).config
    oldest_s = config.network.oldest_frames / config.frequency_hz
    sampling = Sampling(memory="full", steps=1)
    request = ImagineRequest(clip=str(drives.path), seconds=oldest_s + 1.0, sampling=sampling, model=str(checkpoint))
    record = run_imagine(request, tmp_path / "run")
    assert any("full memory reached back" in warning for warning in record["warnings"])
    assert {row["why"] for row in record["memory"]["kept"]} == {"all"}
