import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.town.dataset import scene_list, town_clip, write_town
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import SITUATIONS, simulate


@pytest.fixture
def fake_render(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey frames instead of the ray caster."""
    module = types.ModuleType("worldmodel.town.render")

    def render(scene, rig, frames=None, *, supersample=2, device="cpu"):  # type: ignore[no-untyped-def]
        rgb = np.full((len(scene), len(rig), 3, rig.height_px, rig.width_px), 127, np.uint8)
        return types.SimpleNamespace(rgb=rgb)

    module.render = render  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "worldmodel.town.render", module)


def test_a_town_clip_has_motion_boxes_and_instructions(fake_render: None) -> None:
    rig = town_rig(3, 32, 16)
    clip = town_clip("street", 5, rig=rig, seconds=2)
    scene = simulate("street", 5, seconds=2)
    assert clip.video.shape == (16, 3, 3, 16, 32)
    assert clip.motion_origin == "town"
    assert clip.motion is not None
    np.testing.assert_allclose(clip.motion.trajectory().poses, scene.trajectory().poses, atol=1e-9)
    assert clip.boxes is not None
    assert len(clip.boxes[0]) == scene.body_present[0].sum()
    assert clip.instructions == scene.instructions
    assert clip.observation(1.0, 1.0).speed_mps == pytest.approx(scene.ego_speeds_mps[8], abs=0.5)


def test_scene_lists_mix_situations_and_keep_splits_apart() -> None:
    train, val, test = (scene_list(40, 3, split=split) for split in ("train", "val", "test"))
    counts = Counter(name for name, _ in train)
    assert set(counts) == set(SITUATIONS)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(set(train)) == 40
    assert max(seed for _, seed in train) < 1_000_000
    assert all(1_000_000 <= seed < 2_000_000 for _, seed in val)
    assert all(2_000_000 <= seed < 3_000_000 for _, seed in test)
    assert train == scene_list(40, 3)
    assert train != scene_list(40, 4)


def test_bad_scene_lists_are_explained() -> None:
    with pytest.raises(UnknownName, match="street"):
        scene_list(4, 0, situations=["stret"])
    with pytest.raises(UnknownName, match="train"):
        scene_list(4, 0, split="trian")
    for scenes in (0, -1, 10**9):
        with pytest.raises(BadRequest, match="scenes"):
            scene_list(scenes, 0)
    with pytest.raises(BadRequest, match="seed"):
        scene_list(4, -1)
    with pytest.raises(BadRequest, match="situation"):
        scene_list(4, 0, situations=[])


def test_a_bad_request_leaves_nothing_behind(tmp_path: Path, fake_render: None) -> None:
    with pytest.raises(BadRequest):
        write_town(tmp_path / "out", scenes=2, seed=0, rig=town_rig(1, 32, 16), seconds=1e6)
    with pytest.raises(BadRequest):
        write_town(tmp_path / "out", scenes=2, seed=0, rig=town_rig(1, 32, 16), workers=0)
    assert not list(tmp_path.iterdir())


def test_write_town_makes_a_dataset(tmp_path: Path, fake_render: None) -> None:
    done: list[tuple[int, int]] = []
    rig = town_rig(1, 32, 16)
    dataset = write_town(
        tmp_path / "town",
        scenes=2,
        seed=1,
        rig=rig,
        seconds=1.0,
        situations=["street", "curvy"],
        progress=lambda i, n: done.append((i, n)),
    )
    assert dataset.episodes == 2
    assert done == [(1, 2), (2, 2)]
    clip = dataset.clip(0)
    (name, seed), _ = scene_list(2, 1, situations=["street", "curvy"])
    truth = simulate(name, seed, seconds=1.0).trajectory()
    assert clip.motion is not None
    np.testing.assert_allclose(clip.motion.trajectory().poses, truth.poses, atol=1e-3)
