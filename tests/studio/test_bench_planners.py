"""`detour bench planners`: which stages each planner has, what is promised of them, and how it is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from makers import make_model
from typer.testing import CliRunner

from policy.answers import Ask
from policy.imagining import ImaginingPlanner
from policy.learned import LearnedPlanner, make_network
from policy.planner import JointPlanner
from policy.training.presets import test as tiny
from studio.bench_pasts import random_observation
from studio.bench_planners import Latency, PlannersBench, planners_table, timed
from studio.cli import main
from studio.machine import machine_now
from studio.planner_stages import READY, WHOLE, picture_stages, stages_of
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.text_encoders import HashTextEncoder

WORLD = make_model()
SEEN = random_observation(WORLD)


def planner(kind: str) -> LearnedPlanner:
    config = WORLD.config
    rows, columns = config.network.latent_height, config.network.latent_width
    sizes = replace(
        tiny().planner(kind), cameras=config.cameras, channels=config.network.latent_channels, rows=rows, columns=columns,
        frequency_hz=config.frequency_hz, tokenizer="" if kind == "ego-only" else WORLD.tokenizer.hash,
    )  # fmt: skip
    tokenizer = None if kind == "ego-only" else WORLD.tokenizer
    with torch.random.fork_rng():
        network = make_network(sizes)
    return LearnedPlanner(sizes, network, tokenizer, ask=Ask(samples=2), text_encoder=HashTextEncoder(32))


def test_stages_are_those_that_a_planner_has() -> None:
    _, blind = stages_of(planner("ego-only"), WORLD, SEEN)
    assert list(blind) == ["look (encode, ego status, instruction)", READY, WHOLE]
    _, direct = stages_of(planner("direct"), WORLD, SEEN)
    assert "encode the pictures it looks at" in direct
    _, ik = stages_of(planner("ik"), WORLD, SEEN)
    assert {"predict states", "states to 2 plans, DDIM, 8 steps", "states to 2 plans, DDPM, 100 steps"} <= set(ik)
    _, pooled = stages_of(planner("ik-pooled"), WORLD, SEEN)
    assert "states to plan" in pooled
    assert (ik[READY][1], ik[WHOLE][1]) == ("150 ms", "600 ms")
    for stages in (blind, direct, pooled):
        for work, _ in stages.values():
            work()


def test_the_world_models_planners_have_a_fast_and_a_slow_path() -> None:
    name, joint = stages_of(JointPlanner(WORLD, 2), WORLD, SEEN)
    assert name == "joint"
    assert joint["plan from ready memory, 1 sample"][1] == "150 ms"
    assert joint["newest frame to plan, 1 sample"][1] == "600 ms"
    joint["plan from ready memory, 2 samples"][0]()
    _, imagining = stages_of(ImaginingPlanner(WORLD), WORLD, SEEN)
    assert list(imagining) == ["imagine 4 s", WHOLE]
    assert imagining[WHOLE][1] == ""  # nobody promised that
    for work, _ in picture_stages(WORLD, SEEN).values():
        work()


def test_slow_work_is_repeated_less_and_warming_up_does_not_count() -> None:
    ticks = iter([0.0, 5.0, *(float(10 * i + part) for i in range(1, 4) for part in (0, 2))])
    assert timed(lambda: None, 20, lambda: next(ticks)) == (2000.0, 2000.0, 3)
    quick = iter([0.0, 0.5, *(i + part for i in range(1, 5) for part in (0.0, 0.1))])
    p50, p95, count = timed(lambda: None, 4, lambda: next(quick))
    assert (p50, p95, count) == (pytest.approx(100), pytest.approx(100), 4)


def test_the_table_has_a_line_per_stage_and_a_pair_of_columns_per_thread_count() -> None:
    rows = [
        Latency(
            planner="ik (rich)", stage=stage, threads=threads, p50_ms=3.21 * threads, p95_ms=40.4, repeats=5, need=need
        )
        for threads in (1, 2)
        for stage, need in (("predict states", ""), (WHOLE, "600 ms"))
    ]
    table = planners_table(rows, PlannersBench(model="x"), machine_now(2))
    assert (
        "| planner | stage | 1 thread: p50 ms | 1 thread: p95 ms | 2 threads: p50 ms | 2 threads: p95 ms | need |"
        in table
    )
    assert "| ik (rich) | predict states | 3.2 | 40 | 6.4 | 40 |  |" in table
    assert "|  | newest frame to plan | 3.2 | 40 | 6.4 | 40 | 600 ms |" in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"planners": ("jiont",)}, "Did you mean 'joint'"),
        ({"repeats": 1}, "2 to 1000"),
        ({"threads": (0,)}, "1 to 256"),
        ({"clock": "sun"}, "unknown clock"),
        ({"clock": "processor"}, "Use --threads 1"),
    ],
)
def test_requests_that_make_no_sense_are_refused(words: dict, message: str) -> None:
    with pytest.raises((BadRequest, UnknownName), match=message):
        PlannersBench(model="x", **words)


@pytest.mark.slow
def test_the_command_prints_json_for_machines(tmp_path: Path) -> None:
    WORLD.save_pretrained(tmp_path / "model")
    words = [
        "--planner",
        "constant-velocity",
        "--planner",
        "joint",
        "--repeats",
        "2",
        "--threads",
        "1",
        "--samples",
        "2",
    ]
    result = CliRunner().invoke(main, ["bench", "planners", "--model", str(tmp_path / "model"), *words, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert list(dict.fromkeys(row["planner"] for row in rows)) == ["pictures", "constant velocity", "joint"]
    assert all(0 <= row["p50_ms"] <= row["p95_ms"] for row in rows)
