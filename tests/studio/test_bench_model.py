"""`detour bench model`: what it measures, beside what, and how it says it. The numbers of the tiny model mean nothing."""

import json
from pathlib import Path

import pytest
from makers import make_model
from typer.testing import CliRunner

from studio.bench_model import Measured, ModelBench, bench_model, model_table
from studio.bench_parts import MEMORIES, STEPS, ModelParts
from studio.bench_pasts import random_observation
from studio.bench_peer import make_peer
from studio.cli import main
from studio.machine import machine_now
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.sampling import Sampling


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "model"
    make_model().save_pretrained(folder)
    return folder


def quick(checkpoint: Path) -> ModelBench:
    return ModelBench(
        model=str(checkpoint),
        repeats=1,
        threads=1,
        chunks=(1, 22),
        cached_chunks=3,
        resident_chunks=3,
        batch=2,
        clock="processor",
    )


@pytest.mark.slow
def test_everything_is_measured_beside_its_baseline(checkpoint: Path) -> None:
    begun: list[str] = []
    request = quick(checkpoint)
    rows = bench_model(request, lambda part, seconds: begun.append(part) if seconds is None else None)["cpu"]
    by_name = {row.what: row for row in rows}
    assert list(dict.fromkeys(row.part for row in rows)) == begun
    assert all(row.value > 0 for row in rows)
    for name in MEMORIES:
        late = by_name[f"{name}: chunk 22"]
        assert late.ratio == pytest.approx(late.value / by_name[f"{name}: chunk 20"].value)
    assert by_name["chunk, 1 steps"].ratio == pytest.approx(
        by_name["chunk, 1 steps"].value / by_name[f"chunk, {STEPS[0]} steps"].value
    )
    assert by_name["recomputed in every step"].ratio > by_name["recomputed once per chunk"].ratio > 1
    assert by_name["plan from ready memory"].ratio < 1
    for part in ("settings", "memories", "cache", "fast path", "memory"):
        assert any(row.need for row in rows if row.part == part), part
    text = model_table({"cpu": rows}, request, machine_now(1))
    for said in ("peer", "no cache", "recomputed once per chunk", "1.15 x", "processor clock", "median of 1"):
        assert said in text


@pytest.mark.slow
def test_the_command_prints_json_for_machines(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Measured(part="steps", what="chunk, 1 steps", value=1.0, unit="ms")
    monkeypatch.setattr("studio.bench.bench_model", lambda request, _: {"cpu": [row]})
    result = CliRunner().invoke(main, ["bench", "model", "--model", str(checkpoint), "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["rows"]["cpu"][0]["what"] == "chunk, 1 steps"
    assert content["request"]["resident_chunks"] == 500


def test_the_peer_has_our_width_depth_and_history_and_no_cache() -> None:
    model = make_model()
    peer, config = make_peer(model), model.config.network
    assert len(peer.network.blocks) == config.layers
    assert peer.network.config.num_attention_heads == config.heads
    assert peer.network.config.attention_head_dim == config.head_size
    assert peer.window_frames == (model.config.history_chunks + 1) * model.per_chunk
    passes: list[int] = []
    peer.network.register_forward_pre_hook(lambda _, inputs: passes.append(inputs[0].shape[2]))
    video = peer.chunk(3)
    assert passes == [peer.window_frames] * 3  # every step reads the whole window
    assert video.shape == (model.per_chunk, model.config.cameras, 3, model.config.height_px, model.config.width_px)


def test_an_aged_past_is_as_long_as_asked_and_goes_on(checkpoint: Path) -> None:
    model = make_model()
    parts = ModelParts(model, quick(checkpoint), None)
    for name in MEMORIES:
        past = parts.aged(name, 9)
        assert past.chunks == 9
        assert past.memory.chunks == model.config.history_chunks + 9
        assert parts.chunk(past, Sampling(memory=name, steps=1)).chunks == 10


def test_the_observation_of_the_bench_suits_the_model() -> None:
    model = make_model()
    observation = random_observation(model)
    assert observation.video.shape[1:] == (3, 3, model.config.height_px, model.config.width_px)
    assert model.remember([observation]).memory.chunks == model.config.history_chunks


@pytest.mark.parametrize(
    "changes", [{"repeats": 0}, {"threads": 0}, {"chunks": (0,)}, {"resident_chunks": 1}, {"batch": 0}]
)
def test_impossible_measurements_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="Choose a number in between"):
        ModelBench(model="any", **changes)  # type: ignore[arg-type]


def test_an_unknown_clock_is_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'processor'"):
        ModelBench(model="any", clock="process")
