"""How a batch stands as a text file for the 'textfile' collector of Prometheus' node exporter.

Source: the text exposition format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worldmodel.errors import OutputExists

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
KINDS = ("gauge", "counter", "histogram")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value of a metric.

    Attributes:
        value: Not finite values are allowed.
        labels: By name.
        suffix: After the metric's name, such as '_bucket' of a histogram.
    """

    value: float
    labels: Mapping[str, str]
    suffix: str = ""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """All values of one metric.

    Attributes:
        name: With its unit, and '_total' for a counter.
        kind: Of KINDS.
        help: A sentence.
        samples: At least one, or the metric is left out.
    """

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]

    def __post_init__(self) -> None:
        assert NAME.fullmatch(self.name), self.name
        assert self.kind in KINDS, self.kind


def exposition(metrics: Sequence[Metric], labels: Mapping[str, str] | None = None) -> str:
    """The metrics as text.

    Args:
        metrics: With different names.
        labels: Of every value; what tells the values of several writers on one machine apart.
    """
    return "".join(line + "\n" for metric in metrics if metric.samples for line in _lines(metric, labels or {}))


def _lines(metric: Metric, labels: Mapping[str, str]) -> list[str]:
    told = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    head = [f"# HELP {metric.name} {told}", f"# TYPE {metric.name} {metric.kind}"]
    return head + [
        f"{metric.name}{one.suffix}{_labels({**labels, **one.labels})} {_number(one.value)}" for one in metric.samples
    ]


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def one(name: str, kind: str, help: str, value: float) -> Metric:
    """A metric with a single value without labels."""
    return Metric(name=name, kind=kind, help=help, samples=[Sample(value=value, labels={})])


def each(name: str, kind: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    """A metric with one value for each value of a label."""
    samples = [Sample(value=value, labels={label: key}) for key, value in sorted(values.items())]
    return Metric(name=name, kind=kind, help=help, samples=samples)


def histogram(name: str, help: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> Metric:
    """A histogram.

    Args:
        bounds: Upper ends of the buckets but the last, growing.
        counts: Of each bucket, one more than `bounds`.
        total: Sum of all values.
    """
    samples, so_far = [], 0
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        so_far += count
        samples.append(Sample(value=so_far, labels={"le": _number(bound)}, suffix="_bucket"))
    samples += [Sample(value=total, labels={}, suffix="_sum"), Sample(value=so_far, labels={}, suffix="_count")]
    return Metric(name=name, kind="histogram", help=help, samples=samples)


def write_metrics(path: Path, metrics: Sequence[Metric], labels: Mapping[str, str] | None = None) -> None:
    """Replace the file in one step; readers see the old or the new one, never a half.

    Raises:
        OutputExists: if it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(exposition(metrics, labels), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise OutputExists(
            f"cannot write '{path}': {error}. Name a file in a folder you may write to with --prometheus."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
