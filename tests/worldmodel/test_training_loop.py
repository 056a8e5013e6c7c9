import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from worldmodel.checkpoints import content_hash, save_folder
from worldmodel.errors import BadCheckpoint, BadRequest, Diverged, OutputExists
from worldmodel.training.ema import Ema, warm_decay
from worldmodel.training.loop import train
from worldmodel.training.prefetch import Prefetcher
from worldmodel.training.randomness import step_seed
from worldmodel.training.settings import LoopConfig, learning_rate
from worldmodel.training.state import read_facts, state_folder

CONFIG = LoopConfig(steps=12, warmup_steps=3, log_every=4, seed=5)


class Net(nn.Module):
    """Tied weights, a buffer, dropout, and a part that gets no gradient: whatever is hard to continue exactly."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.second = nn.Linear(8, 3)
        self.tied = self.first
        self.unused = nn.Linear(2, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.second(nn.functional.dropout(self.tied(x).tanh(), 0.2, self.training))


class Line:
    """Learn y = 2x from noisy points."""

    name = "line"

    def __init__(self, pause_s=0.0, nan_from=None):
        self.pause_s = pause_s
        self.nan_from = nan_from

    def module(self):
        return Net()

    def batch(self, step, rank, world):
        x = np.random.default_rng((step, rank)).normal(size=(4, 3)).astype(np.float32)
        value = float("nan") if self.nan_from is not None and step >= self.nan_from else 2.0
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(x) * value, "step": torch.full((4,), step)}

    def step_begins(self, step):
        pass

    def loss(self, module, batch, generator):
        self.step_begins(int(batch["step"][0]))
        time.sleep(self.pause_s)
        noise = 0.01 * torch.randn(batch["x"].shape, generator=generator).to(batch["x"])
        loss = (module(batch["x"] + noise) - batch["y"]).square().mean()
        return loss, {"absolute": loss.detach().sqrt(), "one": 1.0}


def same_bits(a, b):
    assert a.step == b.step
    for name, value in a.module.state_dict().items():
        assert torch.equal(value, b.module.state_dict()[name]), name
    assert content_hash(a.weights) == content_hash(b.weights)


def lines(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(Line(), CONFIG, tmp_path_factory.mktemp("whole"))


def test_training_lowers_the_loss_and_logs_every_few_steps(tmp_path):
    seen = []
    result = train(
        Line(), replace(CONFIG, steps=202, learning_rate=1e-2, log_every=20), tmp_path, on_progress=seen.append
    )
    log = lines(tmp_path)
    assert (result.status, result.exit_code, result.step) == ("finished", 0, 202)
    assert [line["step"] for line in log] == [*range(20, 201, 20), 202] == [p.step for p in seen]
    assert log[-1]["loss"] < 0.3 * log[0]["loss"]
    assert log[-1]["metrics"]["one"] == 1.0
    assert log[-1]["metrics"]["absolute"] > 0
    assert log[0]["gradient_norm"] > 0
    assert log[0]["samples_per_s"] > 0
    assert log[-1]["eta_s"] == 0
    assert result.loss == log[-1]["loss"]
    assert result.best_loss == min(line["loss"] for line in log)


def test_same_seed_gives_same_weights_and_another_seed_others(whole, tmp_path):
    same_bits(train(Line(), CONFIG, tmp_path / "a"), whole)
    other = train(Line(), replace(CONFIG, seed=6), tmp_path / "b")
    assert content_hash(other.weights) != content_hash(whole.weights)


def test_the_callers_random_state_is_left_alone_and_does_not_matter(whole, tmp_path):
    torch.rand(3)
    before = torch.get_rng_state()
    result = train(Line(), CONFIG, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    same_bits(result, whole)


def test_frozen_and_unused_parts_stay_as_they_were(whole, tmp_path):
    start = train(Line(), replace(CONFIG, steps=1), tmp_path).module.state_dict()
    for name in ("unused.weight", "frozen.weight"):
        assert torch.equal(whole.module.state_dict()[name], start[name])
    assert not torch.equal(whole.module.state_dict()["first.weight"], start["first.weight"])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 5, 11])
def test_a_run_that_dies_and_goes_on_ends_with_the_same_bits(whole, tmp_path, at):
    class Dies(Line):
        def batch(self, step, rank, world):
            if step == at:
                raise Killed
            return super().batch(step, rank, world)

    config = replace(CONFIG, save_every_s=0)
    with pytest.raises(Killed):
        train(Dies(), config, tmp_path)
    result = train(Line(), config, tmp_path, resume="always")
    same_bits(result, whole)
    assert [s["from_step"] for s in result.facts["segments"]] == [0, at]
    assert [line["step"] for line in lines(tmp_path)] == [4, 8, 12]


def test_steps_logged_but_not_saved_are_not_logged_twice(whole, tmp_path):
    class Dies(Line):
        def batch(self, step, rank, world):
            if step == 10:
                raise Killed
            return super().batch(step, rank, world)

    with pytest.raises(Killed):
        train(Dies(), CONFIG, tmp_path)
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"step": 1')  # torn by the crash
    same_bits(train(Line(), CONFIG, tmp_path), whole)
    assert [line["step"] for line in lines(tmp_path)] == [4, 8, 12]


def test_a_crash_between_the_two_renames_falls_back_to_the_previous_state(whole, tmp_path):
    train(Line(), replace(CONFIG, steps=7), tmp_path)
    train(Line(), replace(CONFIG, steps=5), tmp_path / "other")
    (tmp_path / "state").rename(tmp_path / "state.previous")
    (tmp_path / "state.partial").mkdir()
    result = train(Line(), replace(CONFIG, steps=8), tmp_path, resume="always")
    assert result.step == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "other", "state"]


def test_every_state_on_disk_is_safetensors_and_json(whole, tmp_path):
    train(Line(), CONFIG, tmp_path)
    files = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert files == ["ema.safetensors", "model.safetensors", "optimizer.json", "optimizer.safetensors", "state.json"]
    facts = json.loads((tmp_path / "state" / "state.json").read_text())
    assert facts["step"] == 12
    assert facts["config"]["seed"] == 5
    assert facts["segments"][0]["versions"]["torch"] in torch.__version__
    assert facts["segments"][0]["device"]


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from dataclasses import replace
from test_training_loop import CONFIG, Line, train
config = replace(CONFIG, steps=int(sys.argv[3]), save_every_s=float(sys.argv[4]), log_every=1)
result = train(Line(pause_s=0.002), config, Path(sys.argv[1]))
sys.exit(result.exit_code)
"""


def start(out, save_every_s):
    """Train in a process of its own; returns once it is in full swing."""
    log = out / "log.jsonl"
    before = log.stat().st_size if log.is_file() else 0
    command = [sys.executable, "-c", SCRIPT, str(out), str(Path(__file__).parent), "100000", str(save_every_s)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    while not log.is_file() or log.stat().st_size < before + 2000:
        assert process.poll() is None, "the training process ended early"
        time.sleep(0.01)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "save_every_s", "code", "times"), [(signal.SIGKILL, 0, -9, 3), (signal.SIGTERM, 1e9, 143, 2)]
)
def test_a_process_killed_again_and_again_goes_on_with_the_same_bits(tmp_path, number, save_every_s, code, times):
    for i in range(times):
        process = start(tmp_path, save_every_s)
        time.sleep(0.0017 * i)  # so the kill falls into another moment of a step or of a save
        process.send_signal(number)
        assert process.wait(60) == code
    saved = read_facts(state_folder(tmp_path))["step"]
    assert 10 < saved < 100_000
    # The learning rate follows the number of steps asked for, so the comparison asks for as many, and stops early.
    config = replace(CONFIG, steps=100_000, save_every_s=1e9)
    continued = stopped_after(saved + 5, tmp_path, config)
    assert len(continued.facts["segments"]) == times + 1
    same_bits(continued, stopped_after(saved + 5, tmp_path / "whole", config))


def stopped_after(steps, out, config):
    class Stops(Line):
        def step_begins(self, step):
            if step == steps - 1:
                signal.raise_signal(signal.SIGTERM)

    result = train(Stops(), config, out)
    assert (result.status, result.exit_code, result.step) == ("stopped", 143, steps)
    return result


@pytest.fixture
def listens_to_ctrl_c():
    """A process started in the background ignores SIGINT; here it interrupts, as in a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_ctrl_c_saves_and_a_second_one_interrupts_at_once(whole, tmp_path):
    class Interrupted(Line):
        def step_begins(self, step):
            for _ in range({6: 1, 9: 2}.get(step, 0)):
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = train(Interrupted(), CONFIG, tmp_path)
    assert (result.status, result.exit_code, result.step) == ("stopped", 130, 7)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(), CONFIG, tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    same_bits(train(Line(), CONFIG, tmp_path), whole)


def test_training_works_outside_the_main_thread(whole, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(train(Line(), CONFIG, tmp_path)))
    thread.start()
    thread.join()
    assert results[0].status == "finished"
    same_bits(results[0], whole)


@pytest.mark.parametrize("save_every_s", [1e9, 0])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tmp_path, save_every_s):
    config = replace(CONFIG, save_every_s=save_every_s)
    with pytest.raises(Diverged, match="at step 6 the loss is nan"):
        train(Line(nan_from=6), config, tmp_path)
    saved = json.loads((tmp_path / "state" / "state.json").read_text())
    assert saved["step"] == (6 if save_every_s == 0 else 0)
    same_bits(train(Line(), config, tmp_path), train(Line(), config, tmp_path / "whole"))


@pytest.mark.parametrize(
    ("change", "name"),
    [({"learning_rate": 2e-3}, "learning_rate 0.001"), ({"seed": 6}, "seed 5"), ({"accumulate": 2}, "accumulate 1")],
)
def test_continuing_with_another_setting_is_refused_and_named(tmp_path, change, name):
    train(Line(), CONFIG, tmp_path)
    with pytest.raises(BadRequest, match=name):
        train(Line(), replace(CONFIG, **change), tmp_path)


def test_continuing_with_other_data_or_another_task_is_refused_and_named(tmp_path):
    train(Line(), CONFIG, tmp_path, same={"dataset": "a", "batch": (4,)})
    train(Line(), CONFIG, tmp_path, same={"dataset": "a", "batch": (4,)})
    with pytest.raises(BadRequest, match="dataset 'a'"):
        train(Line(), CONFIG, tmp_path, same={"dataset": "b", "batch": (4,)})
    with pytest.raises(BadRequest, match="rig None, but this run has 'six'"):
        train(Line(), CONFIG, tmp_path, same={"dataset": "a", "batch": (4,), "rig": "six"})
    task = Line()
    task.name = "curve"
    with pytest.raises(BadRequest, match="task 'line'"):
        train(task, CONFIG, tmp_path)


def test_steps_can_be_extended(tmp_path):
    train(Line(), replace(CONFIG, steps=4), tmp_path)
    result = train(Line(), CONFIG, tmp_path)
    assert (result.step, result.status) == (12, "finished")
    assert train(Line(), CONFIG, tmp_path).step == 12


def test_minutes_end_the_run_and_the_learning_rate_with_it(tmp_path):
    config = LoopConfig(steps=10**9, minutes=1.5 / 60, warmup_steps=0, log_every=10)
    result = train(Line(pause_s=0.005), config, tmp_path)
    assert result.status == "finished"
    assert 1.5 <= result.seconds < 20  # a busy machine may take long for one step
    assert lines(tmp_path)[-1]["learning_rate"] < 0.06e-3
    assert lines(tmp_path)[-1]["eta_s"] == 0
    assert train(Line(), config, tmp_path).step == result.step


def test_learning_rate_warms_up_and_falls_with_steps_or_time():
    config = LoopConfig(steps=100, warmup_steps=10, learning_rate=1.0, final_lr_share=0.1, minutes=1)
    assert learning_rate(config, 0, 0) == pytest.approx(0.1)
    assert learning_rate(config, 50, 0) == pytest.approx(0.55)
    assert learning_rate(config, 50, 60) == pytest.approx(0.1)
    assert learning_rate(config, 100, 0) == pytest.approx(0.1)


@pytest.mark.parametrize("ahead", [0, 3])
def test_batches_made_ahead_change_nothing(whole, tmp_path, ahead):
    result = train(Line(), replace(CONFIG, prefetch=ahead), tmp_path)
    assert result.step == 12
    same_bits(result, whole)


def test_batches_are_made_once_and_ahead_and_an_error_is_raised_when_its_turn_comes():
    made = []

    def make(number):
        made.append(number)
        if number == 2:
            raise KeyError("two")
        return {"x": torch.tensor(number)}

    batches = Prefetcher(make, 2)
    assert [int(batches.get(i)["x"]) for i in (0, 1)] == [0, 1]
    with pytest.raises(KeyError, match="two"):
        batches.get(2)
    batches.close()
    assert made == sorted(set(made))
    assert made[:3] == [0, 1, 2]


def test_accumulated_batches_are_one_large_batch(tmp_path):
    class Halves(Line):
        """Two halves of what `Whole` gives at once; dropout is off, so that they see the same."""

        share = 2

        def module(self):
            return Net().eval()

        def batch(self, step, rank, world):
            whole = super().batch(step // self.share, rank, world)
            part = slice(step % self.share * 4 // self.share, (step % self.share + 1) * 4 // self.share)
            return {name: value[part] for name, value in whole.items()}

        def loss(self, module, batch, generator):
            module.eval()
            return (module(batch["x"]) - batch["y"]).square().mean(), {}

    class Whole(Halves):
        share = 1

    config = replace(CONFIG, steps=5, clip_norm=1e9)
    halves = train(Halves(), replace(config, accumulate=2), tmp_path / "halves")
    at_once = train(Whole(), config, tmp_path / "whole")
    for name in ("first.weight", "second.bias"):
        torch.testing.assert_close(halves.weights[name], at_once.weights[name], atol=1e-6, rtol=1e-5)


def test_the_log_says_how_hard_the_machine_works(tmp_path):
    result = train(Line(), replace(CONFIG, accumulate=3), tmp_path)
    layer = 2 * 4 * 3 * 8  # two forward, two for weights, one for what lies between them
    assert result.facts["flops_per_step"] == 3 * 5 * layer
    for line in lines(tmp_path):
        assert line["flops_per_s"] > 0
        assert 0 <= line["utilisation"] < 1
    continued = train(Line(), replace(CONFIG, accumulate=3, steps=20), tmp_path)
    assert continued.facts["flops_per_step"] == result.facts["flops_per_step"]


def test_accumulated_batches_count_as_one_step(tmp_path):
    steps = []

    class Counts(Line):
        def batch(self, step, rank, world):
            steps.append(step)
            return super().batch(step, rank, world)

    assert train(Counts(), replace(CONFIG, steps=3, accumulate=2), tmp_path).step == 3
    assert steps[:6] == [0, 1, 2, 3, 4, 5]


def test_bfloat16_computes_in_it_and_keeps_float32_weights(tmp_path):
    seen = []

    class Looks(Line):
        def loss(self, module, batch, generator):
            seen.append(module(batch["x"]).dtype)
            return super().loss(module, batch, generator)

    result = train(Looks(), replace(CONFIG, steps=2, precision="bfloat16"), tmp_path)
    assert set(seen) == {torch.bfloat16}
    assert {v.dtype for v in result.weights.values()} == {torch.float32}


def test_start_weights_begin_anew_from_the_average_and_are_recorded(whole, tmp_path):
    first = train(Line(), CONFIG, tmp_path / "first")
    train(Line(), replace(CONFIG, learning_rate=1e-9, steps=1), tmp_path / "b", start_weights=tmp_path / "first")
    result = train(
        Line(), replace(CONFIG, learning_rate=1e-9, steps=1), tmp_path / "b", start_weights=tmp_path / "first"
    )
    for name, value in first.weights.items():
        torch.testing.assert_close(
            result.weights[name], value, atol=1e-6, rtol=0, msg=name
        ) if name != "calls" else None
    assert result.facts["start_weights"] == {
        "name": "first",
        "content_hash": content_hash(first.weights),
        "steps_before": 12,
    }
    with pytest.raises(BadRequest, match="was begun from first"):
        train(Line(), replace(CONFIG, learning_rate=1e-9, steps=1), tmp_path / "b", start_weights=tmp_path / "c")


def test_start_weights_may_be_a_model_folder_and_must_fit(whole, tmp_path):
    save_folder(tmp_path / "model", whole.weights, {}, "card")
    result = train(Line(), replace(CONFIG, steps=1), tmp_path / "a", start_weights=tmp_path / "model")
    assert result.facts["start_weights"]["content_hash"] == content_hash(whole.weights)
    save_folder(tmp_path / "small", {"first.weight": torch.zeros(2, 2)}, {}, "card")
    with pytest.raises(BadCheckpoint, match=r"missing .*first\.bias.*first\.weight is \[2, 2\] and should be \[8, 3\]"):
        train(Line(), CONFIG, tmp_path / "b", start_weights=tmp_path / "small")


def test_a_metric_that_is_not_finite_is_null_in_the_log(tmp_path):
    class Odd(Line):
        def loss(self, module, batch, generator):
            return super().loss(module, batch, generator)[0], {"odd": float("nan")}

    train(Odd(), CONFIG, tmp_path)
    assert lines(tmp_path)[0]["metrics"] == {"odd": None}


@pytest.mark.parametrize("facts", ['{"format": 2}', '{"format": 1, "step": 3}', "{"])
def test_a_state_of_another_format_is_refused(tmp_path, facts):
    train(Line(), CONFIG, tmp_path)
    (tmp_path / "state" / "state.json").write_text(facts)
    with pytest.raises(BadCheckpoint, match=r"format 2|lacks best_loss|state\.json' is not JSON"):
        train(Line(), CONFIG, tmp_path)


def test_a_state_of_another_model_is_refused(tmp_path):
    class Wider(Line):
        def module(self):
            module = super().module()
            module.unused = nn.Linear(3, 2)
            return module

    train(Line(), CONFIG, tmp_path)
    with pytest.raises(BadCheckpoint, match=r"unused\.weight is \[2, 2\] and should be \[2, 3\]"):
        train(Wider(), CONFIG, tmp_path)


def test_moments_of_other_parameters_are_refused(tmp_path):
    class Thawed(Line):
        def module(self):
            return super().module().requires_grad_(True)

    train(Line(), CONFIG, tmp_path)
    with pytest.raises(BadCheckpoint, match="moments of AdamW over other parameters"):
        train(Thawed(), CONFIG, tmp_path)


def test_a_damaged_state_is_named(tmp_path):
    train(Line(), CONFIG, tmp_path)
    file = tmp_path / "state" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BadCheckpoint, match=r"optimizer\.safetensors' is truncated"):
        train(Line(), replace(CONFIG, steps=20), tmp_path)


def test_resume_can_be_insisted_on_or_ruled_out(tmp_path):
    with pytest.raises(BadRequest, match="no training state"):
        train(Line(), CONFIG, tmp_path, resume="always")
    train(Line(), CONFIG, tmp_path)
    with pytest.raises(OutputExists, match="has a training state"):
        train(Line(), CONFIG, tmp_path, resume="never")


def test_an_output_that_cannot_be_written_is_noticed_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExists, match="cannot be written"):
        train(Line(), CONFIG, tmp_path / "file" / "out")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0}, {"learning_rate": float("nan")}, {"warmup_steps": -1}, {"final_lr_share": 2}, {"minutes": 0},
        {"weight_decay": -1}, {"betas": (0.9, 1.0)}, {"clip_norm": 0}, {"ema_decay": 1}, {"accumulate": 0},
        {"seed": -1}, {"prefetch": -1}, {"save_every_s": -1}, {"log_every": 0}, {"precision": "float16"},
    ],
)  # fmt: skip
def test_impossible_settings_are_named(change):
    with pytest.raises(BadRequest, match=next(iter(change))):
        LoopConfig(**({"steps": 1} | change))


def test_seeds_of_neighbouring_steps_and_processes_differ():
    seeds = {step_seed(s, t, r) for s in range(4) for t in range(20) for r in range(4)}
    assert len(seeds) == 4 * 20 * 4
    assert step_seed(0, 1, 2) == step_seed(0, 1, 2)


def test_average_follows_quickly_at_first_and_slowly_later():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = Ema(module, decay=0.9)
    nn.init.ones_(module.weight)
    ema.update(0)
    assert ema.tensors()["weight"].item() == pytest.approx(0.9)
    ema.update(10**6)
    assert ema.tensors()["weight"].item() == pytest.approx(0.91)
    assert warm_decay(0.9, 10**6) == 0.9


MANY = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from dataclasses import replace
from test_training_loop import CONFIG, Line, train
config = replace(CONFIG, accumulate=2, save_every_s=0, shard=sys.argv[3] == "shard")
train(Line(), replace(config, steps=6), Path(sys.argv[1]))
result = train(Line(), config, Path(sys.argv[1]))
whole = train(Line(), replace(config, steps=6), Path(sys.argv[1] + "-whole"))
whole = train(Line(), config, Path(sys.argv[1] + "-whole"))
assert result.step == 12 and result.facts["processes"] == 2
assert all((value == whole.weights[name]).all() for name, value in result.weights.items() if name != "calls")
from accelerate import PartialState
PartialState().wait_for_everyone()
PartialState().destroy_process_group()  # an entry point does this; else the first process to exit can abort the other
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["copies", "shard"])
def test_two_processes_share_gradients_log_once_and_resume(tmp_path, how):
    script = tmp_path / "many.py"
    script.write_text(MANY)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(script), str(tmp_path / "out"), str(Path(__file__).parent), how]
    extra = {"PYTHONPATH": str(Path(__file__).parents[2]), "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, timeout=200, env=os.environ | extra)
    assert [line["step"] for line in lines(tmp_path / "out")] == [4, 6, 8, 12]
    with pytest.raises(BadRequest, match="processes 2"):
        train(Line(), replace(CONFIG, accumulate=2), tmp_path / "out")
