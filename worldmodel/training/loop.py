"""One training loop for every stage: it knows steps, not models.

A `Task` says what is trained. Its batches, the generator handed to its loss, and torch's global random state during a step
are functions of (seed, step, process). So nothing about order or chance has to be saved, and a run that was
killed and continued on the same machine ends with the same bits as one that was not (on the CPU, and on accelerators as
far as their kernels are deterministic; with `minutes` the learning rate follows the clock, so no two runs are alike).

`train` keeps `OUT/state` (see `state.py`) and `OUT/log.jsonl`, one line for every `log_every` steps.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from worldmodel.errors import BadRequest, Diverged, OutputExists
from worldmodel.training.ema import Ema
from worldmodel.training.prefetch import Prefetcher
from worldmodel.training.processes import on_cpu
from worldmodel.training.progress import Progress, Window, log_line, trim_log
from worldmodel.training.randomness import own_randomness, seed_global, step_seed
from worldmodel.training.settings import LoopConfig, learning_rate
from worldmodel.training.sharding import shard, whole, whole_tensor
from worldmodel.training.signals import caught_signals
from worldmodel.training.state import describe_machine, load_start, read_facts, restore, state_folder, write_state
from worldmodel.training.task import Task, TrainingResult
from worldmodel.training.throughput import count_flops, peak_flops

_MAY_CHANGE = {"steps", "minutes", "save_every_s", "log_every", "prefetch", "shard"}


def train(
    task: Task,
    config: LoopConfig,
    out: Path,
    *,
    resume: Literal["auto", "always", "never"] = "auto",
    start_weights: Path | None = None,
    same: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train until the steps or minutes are used up, or a SIGTERM or Ctrl-C asks to stop (saved, to be continued).

    Args:
        out: The run's folder; it is made when missing.
        resume: `auto` continues a state found in `out`; `always` insists on one, `never` on none.
        start_weights: Weights to begin with (see `load_start`), with a fresh optimizer and a new warm-up: the way to go on on
            another machine or with other settings. Ignored by a continuation that began with the same ones.
        same: What must not change when continuing, beside the config (data, batch size, preset); plain JSON, recorded.
        on_progress: Called with every log line, by the first process.

    Raises:
        BadRequest: a continuation with other settings; the field is named. `steps` and `minutes` may change.
        BadCheckpoint: the saved state or the start weights are damaged or of another model.
        OutputExists: `out` cannot be written, or has a state although `resume` is `never`.
        Diverged: the loss or gradient is not finite; the step is named, the last good state is kept.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType

    # Streams that a stage does not use get no gradient. Mixed precision is ours, so that runs with different precisions can
    # follow each other in one process (accelerate keeps one choice per process).
    accelerator = Accelerator(
        cpu=on_cpu(), mixed_precision="no", kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)]
    )
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise BadRequest(
            f"accelerate is configured for {accelerator.distributed_type.value}, but this loop shares weights by itself. Configure "
            "accelerate for plain processes (MULTI_GPU or MULTI_CPU), and ask for shard (`--shard`)."
        )
    with own_randomness(accelerator.device), caught_signals() as signals:
        run = _Run(task, config, Path(out), accelerator, dict(same or {}), on_progress)
        run.begin(resume, start_weights)
        try:
            return run.to_the_end(signals)
        finally:
            run.batches.close()


class _Run:
    """One call of `train`, from its first step to its last."""

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        out: Path,
        accelerator: Any,
        same: dict[str, Any],
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.task, self.config, self.out, self.accelerator, self.same = task, config, out, accelerator, same
        self.on_progress = on_progress
        self.device = accelerator.device
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        seed_global(self.device, step_seed(config.seed, 0))
        self.module = task.module().to(self.device)
        self.module.train()
        self.shards = config.shard and self.world > 1
        if self.shards:
            shard(self.module, self.device, self.world)
        self.optimizer = _optimizer(self.module, config)
        self.batches = Prefetcher(lambda index: task.batch(index, self.rank, self.world), config.prefetch)
        self.flops: int | None = None
        self.ema = Ema(self.module, config.ema_decay)
        self.step = self.saved_step = 0
        self.seconds = 0.0
        self.loss: float | None = None
        self.best_loss: float | None = None
        self.start: dict[str, Any] | None = None
        self.segments: list[dict[str, Any]] = []
        self.began = self.last_save = self.now = time.monotonic()

    def begin(self, resume: str, start_weights: Path | None) -> None:
        """Take up a saved state, or write the first one (so that a full disk is noticed now)."""
        state = state_folder(self.out)
        if state is not None and resume == "never":
            raise OutputExists(f"'{self.out}' has a training state, and resume is 'never'. Name another folder.")
        if state is None and resume == "always":
            raise BadRequest(f"'{self.out}' has no training state, and resume is 'always'. Check the folder.")
        if state is not None:
            self._continue(state, start_weights)
        elif start_weights is not None:
            self.start = load_start(Path(start_weights), self.module)
            self.ema = Ema(self.module, self.config.ema_decay)
        self.segments.append(self._segment())
        self.wrapped = self.module if self.shards else self.accelerator.prepare(self.module)
        self.accelerator.wait_for_everyone()
        self.began = self.last_save = self.now = time.monotonic()
        self.window = Window(since=self.now)
        self.peak = peak_flops(self.device, self.config.precision)
        if self.accelerator.is_main_process:
            trim_log(self.out / "log.jsonl", self.step)
        if state is None:
            self._save()

    def to_the_end(self, signals: list[int]) -> TrainingResult:
        stopped, due = 0, False
        while not stopped and not self._used_up():
            self._one_step()
            stopped, due = self._agree(signals)
            if due:
                self._check_finite()
                self._save()
            if self.step % self.config.log_every == 0:
                self._log()
        if self.window.losses:
            self._log()
        if self.saved_step < self.step:
            self._save()
        self.accelerator.wait_for_everyone()
        return TrainingResult(
            status="stopped" if stopped else "finished",
            exit_code=128 + stopped if stopped else 0,
            step=self.step,
            seconds=self.elapsed,
            loss=self.loss,
            best_loss=self.best_loss,
            module=self.module,
            weights=whole(self.ema.tensors()),
            facts=self._facts(),
        )

    @property
    def elapsed(self) -> float:
        """Training seconds of all segments, at the last time the processes agreed on."""
        return self.seconds + self.now - self.began

    def _used_up(self) -> bool:
        minutes = self.config.minutes
        return self.step >= self.config.steps or (minutes is not None and self.elapsed >= 60 * minutes)

    def _one_step(self) -> None:
        rate = learning_rate(self.config, self.step, self.elapsed)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = self._counted_parts() if self.step == 0 else self._parts()
        norm = whole_tensor(nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip_norm))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.step)
        self.window.losses.append(torch.stack(losses).mean())
        self.window.norms.append(norm)
        self.step += 1

    def _parts(self) -> list[Tensor]:
        return [self._one_part(part) for part in range(self.config.accumulate)]

    def _counted_parts(self) -> list[Tensor]:
        """The first step of all, with its operations counted; the same in every run, so that a continued one has the same bits."""
        losses, self.flops = count_flops(self._parts)
        return losses

    def _one_part(self, part: int) -> Tensor:
        """Forward and backward of one batch; gradients are exchanged with the last part only."""
        index = self.step * self.config.accumulate + part
        seed = step_seed(self.config.seed, index, self.rank)
        seed_global(self.device, seed)
        batch = {k: v.to(self.device) for k, v in self.batches.get(index).items()}
        self.window.samples += next((len(value) for value in batch.values()), 0) * self.world
        last = part == self.config.accumulate - 1
        with self._exchanging(last):
            with self._autocast():
                loss, metrics = self.task.loss(self.wrapped, batch, torch.Generator().manual_seed(seed))
            self.accelerator.backward(loss / self.config.accumulate)
        self.window.add_metrics(metrics)
        return loss.detach().float()

    def _exchanging(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        if self.shards:
            cast(Any, self.module).set_requires_gradient_sync(last)
        return contextlib.nullcontext() if last or self.shards else self.accelerator.no_sync(self.wrapped)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _agree(self, signals: list[int]) -> tuple[int, bool]:
        """Read the clock and the signals; with several processes, all follow the first one's clock and anyone's signal."""
        now = time.monotonic()
        stopped, due = (signals[0] if signals else 0), now - self.last_save >= self.config.save_every_s
        if self.world > 1:
            mine = (now - self.began, float(due)) if self.rank == 0 else (0.0, 0.0)
            votes = torch.tensor([*mine, float(stopped), float(stopped > 0)], dtype=torch.float64, device=self.device)
            since, save, numbers, count = self.accelerator.reduce(votes, "sum").tolist()
            now, due, stopped = self.began + since, bool(save), round(numbers / count) if count else 0
        self.now = now
        return stopped, due

    def _check_finite(self) -> float:
        """Mean loss of the window; every process gets the same one."""
        losses, norms = torch.stack(self.window.losses), torch.stack(self.window.norms).tolist()
        losses = self.accelerator.reduce(losses, "mean") if self.world > 1 else losses
        for i, (loss, norm) in enumerate(zip(losses.tolist(), norms, strict=True)):
            if not math.isfinite(loss + norm):
                raise Diverged(self._divergence(self.step - len(norms) + i, loss, norm))
        return float(losses.mean())

    def _divergence(self, step: int, loss: float, norm: float) -> str:
        return (
            f"at step {step} the loss is {loss} and the gradient norm {norm}, but both must be finite. The state before "
            f"step {self.saved_step} is kept in '{self.out / 'state'}': begin in another folder with these weights "
            f"(start_weights) and a learning rate below {self.config.learning_rate:g}, or check the data."
        )

    def _log(self) -> None:
        self.loss = self._check_finite()
        self.best_loss = self.loss if self.best_loss is None else min(self.loss, self.best_loss)
        if self.accelerator.is_main_process:
            progress = self._progress(self.loss)
            with (self.out / "log.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(log_line(progress))
            if self.on_progress is not None:
                self.on_progress(progress)
        self.window = Window(since=self.now)

    def _progress(self, loss: float) -> Progress:
        spent = max(self.now - self.window.since, 1e-9)
        eta = (self.config.steps - self.step) * spent / len(self.window.losses)
        if self.config.minutes is not None:
            eta = max(0.0, min(eta, 60 * self.config.minutes - self.elapsed))
        return Progress(
            step=self.step,
            steps=self.config.steps,
            loss=loss,
            metrics=self.window.mean_metrics(),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            gradient_norm=float(self.window.norms[-1]),
            seconds=round(self.elapsed, 3),
            samples_per_s=round(self.window.samples / spent, 3),
            eta_s=round(eta, 1),
            **self._throughput(len(self.window.losses) / spent),
        )

    def _throughput(self, steps_per_s: float) -> dict[str, float]:
        """Operations per second of all processes, and their share of what the devices could do."""
        if self.flops is None:
            return {}
        each = self.flops * steps_per_s
        return {"flops_per_s": each * self.world, "utilisation": round(each / self.peak, 4)}

    def _save(self) -> None:
        first = self.accelerator.is_main_process
        if first or self.shards:
            write_state(self.out, self.module, self.ema, self.optimizer, self._facts(), writes=first)
        self.saved_step, self.last_save = self.step, time.monotonic()

    def _facts(self) -> dict[str, Any]:
        segment = self.segments[-1] | {"to_step": self.step, "seconds": round(self.now - self.began, 3)}
        return {
            **self._identity(),
            "step": self.step,
            "seconds": self.elapsed,
            "loss": self.loss,
            "best_loss": self.best_loss,
            "start_weights": self.start,
            "flops_per_step": self.flops,
            "segments": [*self.segments[:-1], segment],
        }

    def _identity(self) -> dict[str, Any]:
        config = _plain(asdict(self.config))
        return {"task": self.task.name, "config": config, "same": _plain(self.same), "processes": self.world}

    def _segment(self) -> dict[str, Any]:
        return {
            **describe_machine(self.device),
            "processes": self.world,
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "from_step": self.step,
        }

    def _continue(self, state: Path, start_weights: Path | None) -> None:
        facts = read_facts(state)
        self._refuse_changes(facts)
        if start_weights is not None and (facts["start_weights"] or {}).get("name") != Path(start_weights).name:
            begun = (facts["start_weights"] or {}).get("name", "random weights")
            raise BadRequest(
                f"'{self.out}' was begun from {begun}, but start_weights is '{start_weights}'. Weights are taken only at "
                f"the beginning: leave start_weights out to continue, or name another folder."
            )
        restore(state, self.module, self.ema, self.optimizer)
        self.step = self.saved_step = facts["step"]
        self.seconds, self.segments = facts["seconds"], facts["segments"]
        self.loss, self.best_loss, self.start = facts["loss"], facts["best_loss"], facts["start_weights"]
        self.flops = facts.get("flops_per_step")

    def _refuse_changes(self, facts: dict[str, Any]) -> None:
        now = self._named(self._identity())
        before = self._named(facts)
        for name, old in (before | dict.fromkeys(self.same.keys() - before.keys())).items():
            if now.get(name) != old:
                raise BadRequest(
                    f"'{self.out}' was trained with {name} {old!r}, but this run has {now.get(name)!r}. A run continues "
                    f"only with the same settings. Set {name} back, or begin in another folder with start_weights "
                    f"'{self.out}' (fresh optimizer and warm-up)."
                )

    @staticmethod
    def _named(facts: dict[str, Any]) -> dict[str, Any]:
        """Everything that must not change, by the name a user knows."""
        config = {key: value for key, value in facts["config"].items() if key not in _MAY_CHANGE}
        return {"task": facts["task"], **facts["same"], **config, "processes": facts["processes"]}


def _optimizer(module: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    trained = [value for value in module.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in trained if value.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [value for value in trained if value.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def _plain(value: Any) -> Any:
    """As it comes back from JSON (tuples become lists)."""
    return json.loads(json.dumps(value))
