"""What a run reports while it trains: lines of `log.jsonl` and calls of `on_progress`."""

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor

from worldmodel.checkpoints import write_bytes

Metrics = Mapping[str, float | Tensor]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One line of the log. Losses are means since the line before, over all processes; metrics over the first.

    Attributes:
        flops_per_s: Operations of all processes, see `worldmodel.training.throughput`; None for a run begun before it counted.
        utilisation: Their share of what the devices could do.
    """

    step: int
    steps: int
    loss: float
    metrics: dict[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float
    samples_per_s: float
    eta_s: float
    flops_per_s: float | None = None
    utilisation: float | None = None


@dataclass
class Window:
    """What happened since the last log line, still as tensors on the device."""

    since: float
    losses: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    metrics: dict[str, list[float | Tensor]] = field(default_factory=dict)
    samples: int = 0

    def add_metrics(self, metrics: Metrics) -> None:
        """Keep the metrics of one batch; tensors stay unread."""
        for name, value in metrics.items():
            kept = value.detach() if isinstance(value, Tensor) else value
            self.metrics.setdefault(name, []).append(kept)

    def mean_metrics(self) -> dict[str, float]:
        """Read and average what was kept."""
        return {name: sum(float(v) for v in values) / len(values) for name, values in self.metrics.items()}


def log_line(progress: Progress) -> str:
    """One line of JSON; a metric that is not finite becomes null (JSON knows no NaN)."""
    metrics = {name: value if math.isfinite(value) else None for name, value in progress.metrics.items()}
    return json.dumps(asdict(progress) | {"metrics": metrics}, allow_nan=False) + "\n"


def trim_log(file: Path, step: int) -> None:
    """Drop lines after `step` and torn ones: a killed run may have logged steps that it had not saved."""
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    partial = file.with_name(f"{file.name}.partial")
    write_bytes(partial, "".join(kept).encode())
    partial.replace(file)
