"""What all units share: digests of model, planners and sources, found without loading anything."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studio.jobs.plan.identity import (
    PACKAGES,
    ROOT,
    library_versions,
    model_files,
    planner_digest,
    setup_of,
    sources,
    sources_digest,
)
from worldmodel.errors import BadCheckpoint


def test_a_model_is_named_by_its_weights_and_config_not_by_its_place_or_card(checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "README.md").write_text("another card")
    before = model_files(str(checkpoint))
    assert model_files(str(copy)).digest == before.digest
    assert before.config.network.frames_per_chunk == 4
    weights = min(copy.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert model_files(str(copy)).digest != before.digest


def test_models_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="does not exist"):
        model_files(str(tmp_path / "none" / "at all"))
    (tmp_path / "config.json").write_text('{"kind": "something else"}')
    with pytest.raises(BadCheckpoint, match="is not a Detour world model"):
        model_files(str(tmp_path))
    with pytest.raises(BadCheckpoint, match="is no name of a Wan model"):
        model_files("wan:")


def test_learned_planners_and_own_policies_are_named_by_their_files(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("class Own: ...")
    first = planner_digest(f"{tmp_path}/own.py:Own")
    (tmp_path / "own.py").write_text("class Own: pass")
    assert (
        len({planner_digest("rich/ik"), planner_digest("natural/ik"), first, planner_digest(f"{tmp_path}/own.py:Own")})
        == 4
    )
    assert planner_digest("joint") == planner_digest("constant-velocity") == ""


def test_a_setup_says_it_all(checkpoint: Path) -> None:
    setup = setup_of(str(checkpoint), ["joint", "rich/ik"], batch=2, threads=3, device="cpu")
    assert setup.planner_digests == {"rich/ik": planner_digest("rich/ik")}
    assert (setup.batch, setup.threads, setup.device, setup.model) == (2, 3, "cpu", str(checkpoint))
    assert setup.libraries == library_versions()
    assert {"python", "torch", "numpy", "av", "pyarrow"} <= set(setup.libraries)
    assert setup.sources_digest == sources_digest()


def test_sources_are_those_that_a_worker_imports() -> None:
    found = {str(path.relative_to(ROOT)) for path in sources()}
    for path in (
        *(
            "worldmodel/rollout.py",
            "worldmodel/memory/selective.py",
            "worldmodel/io/video.py",
            "worldmodel/__init__.py",
        ),
        *("studio/stitch.py", "studio/jobs/work/working.py", "studio/jobs/work/streaming.py", "policy/learned.py"),
    ):
        assert path in found
    for part in (
        "pages/",
        "live/",
        "training/",
        "commands/",
        "jobs/folder/",
        "jobs/run/",
        "jobs/engines/",
        "jobs/results/",
    ):
        assert not [path for path in found if part in path]


@pytest.mark.slow
def test_nothing_that_a_worker_loads_is_missing_from_the_sources() -> None:
    """What Python itself has loaded after importing the worker must be in the closure, but for what carries results."""
    code = (
        "import sys, studio.jobs.work.working; "
        f"print('\\n'.join(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in {PACKAGES} and m.__file__))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {Path(line).resolve() for line in ran.stdout.splitlines()}
    assert len(loaded) > 50
    assert loaded <= set(sources(but=()))


def test_imports_are_found_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.jobs.plan import identity

    package = tmp_path / "policy"
    package.mkdir()
    files = {
        "__init__": "",
        "work": "import policy.plain\nfrom policy import named\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import policy.typed\nelse:\n    import policy.otherwise\n"
        "def run():\n    from . import late\n    from .deep.inner import Thing\n",
        **dict.fromkeys(("plain", "named", "typed", "otherwise", "late", "unused"), ""),
    }
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    (package / "deep").mkdir()
    (package / "deep" / "__init__.py").write_text("from ..unused_not_there import x\n")
    (package / "deep" / "inner.py").write_text("import numpy\n")
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    found = {path.relative_to(package).as_posix() for path in sources(["policy.work"])}
    assert found == {
        *(
            "__init__.py",
            "work.py",
            "plain.py",
            "named.py",
            "otherwise.py",
            "late.py",
            "deep/__init__.py",
            "deep/inner.py",
        ),
    }
