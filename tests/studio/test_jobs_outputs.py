"""What is read for a unit, what is written of it, and how it is scored."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import a_clip
from PIL import Image
from unit_work import asked, clip_of

from policy.baselines import ConstantVelocityPlanner
from studio.demo import frame_scores
from studio.jobs.units import EditChoice
from studio.jobs.work.clip_reader import ClipReader, EditedMoment
from studio.jobs.work.outputs import camera_files
from studio.jobs.work.poster import IMAGINED, TILE_PX, Poster
from studio.jobs.work.sinks import Piece, Sink
from studio.jobs.work.unit_plans import KeptPlans, ask_planners
from studio.jobs.work.unit_scores import PictureScores, missing_scores, path_scores
from studio.moments import Wish, moment_of
from studio.overlays import labelled
from worldmodel.errors import BadRig
from worldmodel.geometry import Motion, Trajectory
from worldmodel.io.lerobot import Dataset, write_dataset
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan

WISH = Wish(history=8, chunk=4, future_s=4.0, rate_hz=8.0)


@pytest.fixture(scope="module")
def fast_drives(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A recording at twice the model's rate."""
    clip = a_clip("fast", seconds=6.0)
    motion = Motion(deltas=np.array([[0.5, 0.0, 0.0025]] * (len(clip) - 1)), period_s=1 / 16)
    return write_dataset(
        [replace(clip, frequency_hz=16.0, motion=motion)], tmp_path_factory.mktemp("d") / "fast", name="f"
    )


def pieces(video: np.ndarray) -> Iterator[Piece]:
    """Chunks of four frames."""
    for first in range(0, len(video), 4):
        part = video[first : first + 4]
        yield Piece(first=first, video=part, latents=torch.zeros(1), poses=np.zeros((len(part), 3)), text="")


def stream_in_two(sink: Sink, video: np.ndarray, folder: Path) -> None:
    """Hand a video to a sink as two segments."""
    parts, chunks = [folder / f"{number}-{sink.name}" for number in range(2)], list(pieces(video))
    for part, some in zip(parts, (chunks[:2], chunks[2:]), strict=True):
        with sink.writing(part) as add:
            for piece in some:
                add(piece)
    sink.join(parts)


@pytest.mark.parametrize("which", ["drives", "fast_drives"])
def test_a_recording_is_read_as_detour_imagine_reads_it_and_what_followed_when_it_is_asked_for(
    which: str, request: pytest.FixtureRequest
) -> None:
    dataset = request.getfixturevalue(which)
    found = ClipReader().read(clip_of(dataset, 0, 1.5), WISH)
    whole = moment_of(dataset, 0, 1.5, WISH)
    assert len(found.moment.clip) == found.moment.now + 1
    assert np.array_equal(found.moment.clip.video, whole.clip.video[: whole.now + 1])
    ours, theirs = found.moment.observation().motion, whole.observation().motion
    assert ours is not None
    assert theirs is not None
    assert np.array_equal(ours.deltas, theirs.deltas)
    assert found.moment.notes == whole.notes
    driven = whole.driven()
    assert driven is not None
    assert found.driven is not None
    np.testing.assert_array_equal(found.driven.poses, driven.poses[: len(found.driven)])
    assert abs(len(found.driven) - len(driven)) <= 1
    after = whole.clip.video[whole.now + 1 :]
    assert np.array_equal(found.truth(0, 5, 64, 32), after[:5])
    assert np.array_equal(found.truth(3, 4, 64, 32), after[3:7])
    assert len(found.truth(found.followed - 1, 4, 64, 32)) == 1
    assert len(found.truth(found.followed, 4, 64, 32)) == 0


def test_pictures_are_scored_as_by_detour_imagine_as_far_as_the_recording_goes(drives: Dataset, tmp_path: Path) -> None:
    recording = ClipReader().read(clip_of(drives, 0, 5.0), WISH)
    truth = recording.truth(0, 100, 64, 32)
    assert len(truth) == 15
    video = np.random.default_rng(0).integers(0, 255, (20, 3, 3, 32, 64), dtype=np.uint8)
    scores = PictureScores(recording=recording, metrics=("psnr", "ssim"))
    stream_in_two(scores, video, tmp_path)
    newest = np.broadcast_to(recording.moment.clip.video[-1], truth.shape)
    expected = {
        f"{row['metric'].lower()}{suffix}": row["value"]
        for suffix, seen in (("", video), (":repeat", newest))
        for row in frame_scores("x", seen, truth)
    }
    assert scores.values() == pytest.approx(expected, abs=1e-9)
    assert scores.pictures() == 45


def test_paths_are_scored_where_the_recording_goes_on() -> None:
    times = np.arange(17) / 8
    driven = Trajectory(poses=np.stack([8 * times, 0 * times, 0 * times], axis=1), times_s=times)
    beside = Trajectory(poses=driven.poses + np.array([0.0, 1.0, 0.0]), times_s=times)
    far = np.stack([8 * PLAN_TIMES_S, 0 * PLAN_TIMES_S + 2.0, 0 * PLAN_TIMES_S], axis=1)
    plan = Plan(trajectory=Trajectory(poses=far, times_s=PLAN_TIMES_S))
    found = path_scores(beside, driven, {"joint": plan})
    assert found == pytest.approx({"ade": 1.0, "fde": 1.0, "ade:joint": 2.0, "fde:joint": 2.0})
    assert path_scores(beside, None, {"joint": plan}) == {}


def test_what_was_not_measured_is_said() -> None:
    def said(**how: object) -> list[str]:
        given = {"edited": False, "covered_s": 4.0, "seconds": 4.0} | how
        return missing_scores(("psnr", "ade"), {"psnr": 1.0, "ade:joint": 2.0}, **given)  # type: ignore[arg-type]

    assert said() == []
    assert "goes on for 2 s" in said(covered_s=2.0)[0]
    assert "does not show what was put" in said(edited=True)[0]
    assert missing_scores((), {}, edited=True, covered_s=0.0, seconds=4.0) == []
    assert "not measured: ade" in missing_scores(("ade",), {}, edited=False, covered_s=4.0, seconds=4.0)[0]


def test_a_poster_shows_what_was_seen_and_then_what_was_imagined(drives: Dataset, tmp_path: Path) -> None:
    rig = drives.rig
    video = np.stack([np.full((3, 3, 32, 64), 10 * i, np.uint8) for i in range(16)])
    poster = Poster(rig=rig, frames=16, frequency_hz=8.0)
    stream_in_two(poster, video, tmp_path)
    observation = moment_of(drives, 0, 2.0, WISH).observation()
    poster.see(observation)
    assert sorted(poster.tiles) == [-1, 3, 7, 11, 15]
    poster.write(tmp_path / "poster.jpg")
    picture = np.asarray(Image.open(tmp_path / "poster.jpg"))
    assert picture.shape == (96, (1 + IMAGINED) * TILE_PX, 3)
    ends = [picture[-10:, TILE_PX * (1 + i) + 20 : TILE_PX * (2 + i) - 20].mean() for i in range(IMAGINED)]
    assert ends == pytest.approx([30, 70, 110, 150], abs=3)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_a_poster_of_few_frames_shows_each_once_and_the_last(drives: Dataset, frames: int) -> None:
    wanted = Poster(rig=drives.rig, frames=frames, frequency_hz=8.0).wanted
    assert wanted[-1] == frames - 1
    assert len(wanted) == min(frames, IMAGINED)


def test_cameras_have_a_file_each(drives: Dataset) -> None:
    assert camera_files(drives.rig) == ("cameras/front_left.mp4", "cameras/front.mp4", "cameras/front_right.mp4")
    cameras = tuple(
        replace(camera, name=name) for camera, name in zip(drives.rig.cameras, ("a b", "a_b", "c"), strict=True)
    )
    with pytest.raises(BadRig, match="some are alike"):
        camera_files(replace(drives.rig, cameras=cameras))


@pytest.mark.parametrize("size", [(8, 40), (64, 128), (160, 320)])
@pytest.mark.parametrize("bottom", [False, True])
def test_captions_look_as_pillow_draws_them(size: tuple[int, int], bottom: bool) -> None:
    from PIL import ImageDraw, ImageFont

    picture = np.random.default_rng(1).integers(0, 256, (3, *size), dtype=np.uint8)
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    draw, font = ImageDraw.Draw(image, "RGBA"), ImageFont.load_default(size=max(10, round(size[0] / 13)))
    left, top, right, low = draw.textbbox((0, 0), "front_left, gj", font=font)
    y = size[0] - (low - top + 6) if bottom else 0
    draw.rectangle((0, y, right - left + 8, y + low - top + 6), fill=(0, 0, 0, 150))
    draw.text((4 - left, y + 3 - top), "front_left, gj", fill=(255, 255, 255, 255), font=font)
    assert np.array_equal(labelled(picture, "front_left, gj", bottom=bottom), np.asarray(image).transpose(2, 0, 1))


def test_a_plan_that_was_made_is_not_made_again_unless_it_is_a_policy_of_the_user(drives: Dataset) -> None:
    class Counting(ConstantVelocityPlanner):
        asked = 0

        def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
            self.asked += 1
            return super().plan(observation, seed, memory)

    planner, kept = Counting(), KeptPlans()
    request = asked(drives, edit=EditChoice(), seconds=0.0)
    moment = ClipReader().read(request.clip, WISH).moment
    there = EditedMoment(moment=moment, factual=moment, facts={})
    for name, times in (("planner", 3), ("module.py:Policy", 4)):
        planner.asked = 0
        for variant in ("near", "far"):
            wanted = replace(request, edit=EditChoice(variant=variant))
            found = ask_planners(wanted, {name: planner}, moment, there, kept)
            assert set(found.edited) == set(found.factual) == {name}
        assert planner.asked == times
