"""Does it obey the path? Commands that differ from the log, driven for four seconds and read back by two readers."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from eval_fid_fvd.obedience.commands import KINDS, PACE, SHORTEST_M, path_lengths, reach_s, varied
from eval_fid_fvd.obedience.read_back import explained, path_errors, path_reading, seen_by
from eval_fid_fvd.obedience.suite import INDEPENDENT, SECONDS, Suite, driven
from eval_fid_fvd.obedience.table import Row, mean_interval
from worldmodel.geometry import Array, Motion
from worldmodel.plans import Observation
from worldmodel.town.scene import Scene

LIMIT_SHARE, LIMIT_READER, LIMIT_LOG = 0.15, 1.5, 0.5
ROADS = ("street", "curvy", "empty_road", "stop_and_go", "highway", "slow_truck", "intersection", "cut_in")


def path_rows(suite: Suite) -> list[Row]:
    """Commands that differ from the log, driven for four seconds."""
    moments = suite.moments("path", ROADS, suite.clips, SECONDS, lambda scene, now: drives(suite, scene, now))
    kinds = [KINDS[i % len(KINDS)] for i in range(len(moments))]
    commands = [
        varied(driven(moment, reach_s(SECONDS)), kind, SECONDS, suite.hertz)
        for moment, kind in zip(moments, kinds, strict=True)
    ]
    observations = [moment.observation for moment in moments]
    imagined = [rollout.video for rollout in suite.imagine(observations, SECONDS, commands)]
    true = [moment.future.video for moment in moments]
    asked = [command.motion() for command in commands]
    logged = [driven(moment, SECONDS).motion() for moment in moments]
    ignoring = path_errors(logged, asked)
    rows: list[Row] = []
    for name, read in _both(suite):
        found, real = read(observations, imagined), read(observations, true)
        rows += _path_rows(name, found, asked, path_errors(real, logged), ignoring, path_lengths(commands), suite.seed)
        if name == INDEPENDENT:
            rows += _rows_by_kind(kinds, path_errors(found, asked), ignoring)
    return rows


Read = Callable[[Sequence[Observation], Sequence[Array]], list[Motion]]


def _both(suite: Suite) -> Iterator[tuple[str, Read]]:
    yield INDEPENDENT, lambda observations, videos: seen_by(suite.readers, observations, videos)
    yield (
        "the model's explain",
        lambda observations, videos: explained(
            suite.model, observations, videos, steps=suite.sampling.steps, batch=suite.batch
        ),
    )


def drives(suite: Suite, scene: Scene, now: int) -> bool:
    """Whether the slowest command would still be long enough."""
    ahead = scene.ego_poses[now : now + round(SECONDS * suite.hertz) + 1, :2]
    return bool(np.linalg.norm(np.diff(ahead, axis=0), axis=1).sum() * (1 - PACE) ** 2 >= SHORTEST_M)


def _path_rows(
    name: str,
    found: Sequence[Motion],
    asked: Sequence[Motion],
    on_true: Array,
    ignoring: Array,
    lengths: Array,
    seed: int,
) -> list[Row]:
    reading = path_reading(found, asked, seed)
    limit = max(LIMIT_SHARE * lengths.mean(), LIMIT_READER * on_true.mean())
    value = float(reading.ade_m.mean())
    error = Row(
        quantity=f"path, {name}: ADE",
        n=len(asked),
        value=value,
        unit="m",
        interval=mean_interval(reading.ade_m, seed),
        threshold=f"{limit:.2f} m and half of the log's",
        passed=bool(value <= limit and value <= LIMIT_LOG * ignoring.mean()),
        beside={"drives the log": float(ignoring.mean()), "others' commands": float(reading.shuffled_m.mean())},
        reader=float(on_true.mean()),
    )
    pearsons = [
        Row(
            quantity=f"path, {name}: Pearson of {key.replace('_', ' ')}",
            n=len(asked),
            value=reading.correlation[key],
            unit="",
            beside={"others' commands": reading.shuffled_correlation[key]},
        )
        for key in reading.correlation
    ]
    return [error, *pearsons]


def _rows_by_kind(kinds: Sequence[str], errors: Array, ignoring: Array) -> list[Row]:
    rows = []
    for kind in KINDS:
        mine = np.array([one == kind for one in kinds])
        if mine.any():
            beside = {"drives the log": float(ignoring[mine].mean())}
            value = float(errors[mine].mean())
            rows.append(Row(quantity=f"- {kind}", n=int(mine.sum()), value=value, unit="m", beside=beside))
    return rows
