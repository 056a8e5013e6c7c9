"""Streams that were interrupted go on exactly where they stopped, and what is damaged is made again."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flaky_s3 import BUCKET, FAULTS, flaky_s3, options_of
from makers import make_observation
from safetensors.torch import load_file
from streams import CHUNKS, ONE, SELECTIVE, Reference, Stopped, Watching, begins_at, files_in, latents_in, run
from tiny_wan import write_tiny_wan

from studio.jobs.folder.patience import Patience
from studio.jobs.folder.storage import Storage
from studio.jobs.work import streaming as streaming_module
from studio.jobs.work.segments import forget
from studio.jobs.work.sinks import LatentsSink, camera_sink
from studio.jobs.work.streaming import Streamed, stream
from worldmodel.errors import Diverged
from worldmodel.geometry import Motion, Trajectory
from worldmodel.guidance import ScheduleGuide
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling


@pytest.fixture(scope="module")
def whole(tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("whole") / "out"
    return Reference(folder, run(tiny_model, folder))


@pytest.fixture(scope="module")
def stopped_once(tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two whole segments of latents, and a third that was under way."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Stopped):
        run(tiny_model, folder / "out", Storage.at(folder / "partial"), stop_after=6, sinks=latents_in(folder / "out"))
    return folder / "partial"


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Storage:
    """A copy of it."""
    shutil.copytree(stopped_once, tmp_path / "partial")
    return Storage.at(tmp_path / "partial")


# -- interrupted ------------------------------------------------------------------------------------------------------


def test_an_interrupted_stream_goes_on_with_the_same_bytes(tiny_model: Any, tmp_path: Path, whole: Reference) -> None:
    partial = Storage.at(tmp_path / "partial")
    for stop in (3, 6):
        with pytest.raises(Stopped):
            run(tiny_model, tmp_path / "out", partial, stop_after=stop)
    made = run(tiny_model, tmp_path / "out", partial)
    assert files_in(tmp_path / "out") == files_in(whole.folder)
    assert (made.resumed_at, made.chunks) == (4, 3)
    assert made.rollouts[0].telemetry == whole.made.rollouts[0].telemetry
    assert made.rollouts[0].texts == whole.made.rollouts[0].texts
    assert sorted(name for name in partial.names() if name.startswith("past")) == [
        "past-00001.safetensors",
        "past-00002.safetensors",
    ]
    forget(partial)
    assert partial.names() == []


def drive(seconds: float, faster: float) -> Trajectory:
    """A path that no car can drive all of, so that commands depend on those before."""
    random = np.random.default_rng(1)
    deltas = random.normal((0.9 + faster, 0.0, 0.1), (0.9, 0.1, 0.3), (round(seconds * 8), 3))
    return Motion(deltas=deltas, period_s=0.125).trajectory()


def test_commands_texts_and_every_sample_of_a_batch_go_on_alike(tiny_model: Any, tmp_path: Path) -> None:
    def how(out: Path) -> dict[str, Any]:
        return asked | {"sinks": [[LatentsSink(out=out / f"{i}.safetensors")] for i in range(2)]}

    asked: dict[str, Any] = {
        "seeds": [1, 2],
        "sampling": SELECTIVE,
        "actions": [drive(3.5, 0.0), drive(3.5, 0.4)],
        "guides": [ScheduleGuide(texts=((0.0, "go"), (1.5, "turn left"))), ScheduleGuide(texts=((2.0, "stop"),))],
    }
    one = run(tiny_model, tmp_path / "whole", **how(tmp_path / "whole"))
    partial = Storage.at(tmp_path / "partial")
    with pytest.raises(Stopped):
        run(tiny_model, tmp_path / "out", partial, stop_after=5, **how(tmp_path / "out"))
    made = run(tiny_model, tmp_path / "out", partial, **how(tmp_path / "out"))
    assert made.resumed_at == 4
    assert files_in(tmp_path / "out") == files_in(tmp_path / "whole")
    for rollout, other in zip(made.rollouts, one.rollouts, strict=True):
        assert (rollout.trajectory.poses == other.trajectory.poses).all()
        assert (rollout.warnings, rollout.texts) == (other.warnings, other.texts)
        assert any("what no car can do" in said for said in rollout.warnings)


def test_a_sample_that_is_finished_meanwhile_is_not_asked_for(
    tiny_model: Any, tmp_path: Path, stopped: Storage
) -> None:
    assert begins_at(tiny_model, tmp_path / "out", stopped, sinks=[[]]) == 4
    assert begins_at(tiny_model, tmp_path / "out", stopped, sinks=[[Watching()]]) == 0


# -- damaged ----------------------------------------------------------------------------------------------------------


def flip(storage: Storage, name: str) -> None:
    content = bytearray(storage.read(name))
    content[len(content) // 2] ^= 1
    storage.write(name, bytes(content))


@pytest.mark.parametrize(
    ("damage", "goes_on_at"),
    [
        (lambda kept: None, 4),
        (lambda kept: flip(kept, "past-00001.safetensors"), 2),
        (lambda kept: kept.remove("past-00001.safetensors"), 2),
        (lambda kept: kept.write("past-00001.safetensors", b""), 2),
        (lambda kept: flip(kept, "00001/0-latents.npy"), 2),
        (lambda kept: kept.remove("00001/0-latents.npy"), 2),
        (lambda kept: kept.write("00001/segment.json", b'{"number": 1'), 2),
        (lambda kept: kept.write("00001/segment.json", b"[]"), 2),
        (lambda kept: flip(kept, "00000/0-latents.npy"), 0),
        (lambda kept: [flip(kept, f"past-0000{i}.safetensors") for i in (0, 1)], 0),
    ],
)
def test_what_is_damaged_is_made_again(
    tiny_model: Any, tmp_path: Path, stopped: Storage, damage: Callable[[Storage], object], goes_on_at: int
) -> None:
    damage(stopped)
    assert begins_at(tiny_model, tmp_path / "out", stopped) == goes_on_at


def test_from_an_older_past_it_goes_on_with_the_same_bytes(
    tiny_model: Any, tmp_path: Path, whole: Reference, stopped: Storage
) -> None:
    flip(stopped, "past-00001.safetensors")
    made = run(tiny_model, tmp_path / "out", stopped, sinks=latents_in(tmp_path / "out"))
    assert made.resumed_at == 2
    one, other = (load_file(path)["latents"] for path in (tmp_path / "out/latents.safetensors", whole.latents))
    assert one.equal(other)


@pytest.mark.parametrize("how", [{"seeds": [5]}, {"sampling": Sampling(steps=2)}, {"segment_chunks": 3}])
def test_another_rollout_does_not_go_on_from_what_is_kept(
    tiny_model: Any, tmp_path: Path, stopped: Storage, how: dict[str, Any]
) -> None:
    assert begins_at(tiny_model, tmp_path / "out", stopped, **how) == 0
    assert stopped.names() == []


def test_chunks_before_one_that_diverged_are_kept_and_nothing_else(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = streaming_module.chunk_by_chunk

    def until_the_sixth(*given: Any) -> Iterator[Any]:
        for made in real(*given):
            if made.number == 5:
                raise Diverged("chunk 5 has values that are not finite")
            yield made

    monkeypatch.setattr(streaming_module, "chunk_by_chunk", until_the_sixth)
    partial = Storage.at(tmp_path / "partial")
    with pytest.raises(Diverged, match="chunk 5"):
        run(tiny_model, tmp_path / "made/out", partial, sinks=latents_in(tmp_path))
    assert list((tmp_path / "made").iterdir()) == []
    assert [name for name in partial.names() if name.isdigit()] == ["00000", "00001"]


# -- slow -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("where", ["memory", "s3 that fails at random"])
def test_what_is_kept_may_lie_in_an_object_store(tiny_model: Any, tmp_path: Path, whole: Reference, where: str) -> None:
    with ExitStack() as stack:
        partial = Storage.at(f"memory://stream/{tmp_path.name}")
        if where != "memory":
            server = stack.enter_context(flaky_s3(seed=3))
            partial = Storage.at(
                f"s3://{BUCKET}/a stream ü", options_of(server), Patience(attempts=12, first_s=0.02, longest_s=0.3)
            )
            server.share, server.kinds = 0.15, tuple(kind for kind in FAULTS if kind != "stalled")
        for stop in (3, 6):
            with pytest.raises(Stopped):
                run(tiny_model, tmp_path / "out", partial, stop_after=stop)
        assert run(tiny_model, tmp_path / "out", partial).resumed_at == 4
        assert files_in(tmp_path / "out") == files_in(whole.folder)
        forget(partial)
        assert partial.sizes() == {}
        if where != "memory":
            assert sum(server.faults[kind] for kind in server.kinds) > 3


@pytest.mark.slow
def test_a_tokenizer_with_a_memory_goes_on_alike(tmp_path: Path) -> None:
    model = WorldModel.from_pretrained(f"wan:{write_tiny_wan(tmp_path / 'wan')}@32x64")

    def streamed(out: Path, partial: Storage | None, until: int) -> Streamed:
        def on_chunk(chunk: int, _: int) -> None:
            if chunk == until:
                raise Stopped

        out.mkdir(exist_ok=True)
        sinks = [[LatentsSink(out=out / "latents.safetensors"), camera_sink(out / "a.mp4", 0, 8.0)]]
        given: dict[str, Any] = {"frames": 18, "seeds": [3], "sampling": ONE, "segment_chunks": 2, "sinks": sinks}
        past = model.remember([make_observation(12, cameras=1)], ONE.empty_memory(4))
        return stream(model, past, scratch=tmp_path, partial=partial, on_chunk=on_chunk, **given)

    streamed(tmp_path / "whole", None, until=-1)
    partial = Storage.at(tmp_path / "partial")
    with pytest.raises(Stopped):
        streamed(tmp_path / "out", partial, until=4)
    assert streamed(tmp_path / "out", partial, until=-1).resumed_at == 2
    assert files_in(tmp_path / "out") == files_in(tmp_path / "whole")
    assert len(load_file(tmp_path / "out/latents.safetensors")["latents"]) == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from makers import make_model
from streams import run
from studio.jobs.work import streaming
from studio.jobs.folder.storage import Storage
out, partial, chunk = Path(sys.argv[1]), Storage.at(sys.argv[2]), int(sys.argv[3])
real = streaming.chunk_by_chunk
def until(*given):
    for made in real(*given):
        if made.number == chunk:
            os.kill(os.getpid(), signal.SIGKILL)
        yield made
streaming.chunk_by_chunk = until
print(run(make_model(), out, partial).resumed_at)
"""


@pytest.mark.slow
def test_a_killed_process_is_continued_by_another_with_the_same_bytes(tmp_path: Path, whole: Reference) -> None:
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (here.parent, here.parent.parent)))
    environment = {**os.environ, "PYTHONPATH": paths}
    ends = []
    for chunk in (3, CHUNKS):
        words = [sys.executable, "-c", KILLED, tmp_path / "out", tmp_path / "partial", chunk]
        ends.append(subprocess.run([*map(str, words)], env=environment, capture_output=True, text=True, check=False))
    assert ends[0].returncode == -signal.SIGKILL
    assert ends[1].stdout.split() == ["2"], ends[1].stderr
    assert files_in(tmp_path / "out") == files_in(whole.folder)
