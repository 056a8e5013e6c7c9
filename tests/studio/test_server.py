import tempfile
from pathlib import Path

import pytest

from studio.server import serve
from worldmodel.errors import BadCheckpoint, BadDataset
from worldmodel.io.lerobot import Dataset


def test_a_studio_without_clips_or_checkpoint_does_not_open_and_leaves_nothing(
    tmp_path: Path, drives: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(BadDataset, match="not a dataset"):
        serve(clips=tmp_path / "none")
    with pytest.raises(BadCheckpoint, match="no checkpoint at"):
        serve(model=tmp_path / "none", clips=drives.path)
    assert list(tmp_path.iterdir()) == []
