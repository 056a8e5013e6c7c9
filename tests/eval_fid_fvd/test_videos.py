import json
from dataclasses import replace

import numpy as np
import pytest

from eval_fid_fvd.cards import Score, check_comparable
from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.frechet import frechet_distance
from eval_fid_fvd.images import psnr, ssim
from eval_fid_fvd.kernel import polynomial_mmd
from eval_fid_fvd.networks.tokenizer import tokenizer_features
from eval_fid_fvd.options import ScoreOptions
from eval_fid_fvd.results import Scores
from eval_fid_fvd.videos import score_folders, score_videos
from worldmodel.errors import BadDataset, BadRequest, BadVideo, ClipTooShort, OutputExists, UnknownName
from worldmodel.io.video import write_video

ALL = ["fid", "kid", "fvd", "kvd", "precision", "recall", "density", "coverage", "psnr", "ssim"]
QUICK = ScoreOptions(resamples=20)


@pytest.fixture
def networks(tokenizer):
    return tokenizer_features(tokenizer)


@pytest.fixture
def pair(moving_clips, rng):
    real = moving_clips(5)
    fake = np.clip(real + rng.normal(scale=20, size=real.shape), 0, 255).astype(np.uint8)
    return fake, real


def test_distances_are_those_of_the_pooled_features(pair, networks):
    fake, real = pair
    scores = score_videos(fake, real, ALL, networks, frequency_hz=8, options=QUICK)
    pictures = [networks.pictures.features(side.reshape(-1, 3, 32, 48)) for side in pair]
    clips = [networks.clips.features(side.swapaxes(1, 2).reshape(-1, 6, 3, 32, 48)) for side in pair]
    expected = {
        "FD[tokenizer-01234567]": frechet_distance(*pictures),
        "KD[tokenizer-01234567]": polynomial_mmd(*pictures),
        "FVD[tokenizer-01234567]": frechet_distance(*clips),
        "KVD[tokenizer-01234567]": polynomial_mmd(*clips),
    }
    for name, value in expected.items():
        assert scores[name].value == pytest.approx(value, rel=1e-9)
    assert (scores["FD[tokenizer-01234567]"].n_a, scores["FVD[tokenizer-01234567]"].n_b) == (5 * 6 * 2, 5 * 2)
    card = scores["FVD[tokenizer-01234567]"].card
    assert (card.frames, card.frequency_hz, card.cameras, card.size) == (6, 8, "2, pooled", "48x32")
    assert "samples for 24 features" in card.notes[0]


def test_paired_scores_are_means_over_frames_with_a_curve_along_the_horizon(pair):
    fake, real = pair
    scores = score_videos(fake, real, ["psnr", "ssim"], options=QUICK)
    for name, formula in (("PSNR", psnr), ("SSIM", ssim)):
        frames = np.array(
            [
                [
                    [formula(*(side[i, t, c].transpose(1, 2, 0) / 255 for side in pair)) for c in range(2)]
                    for t in range(6)
                ]
                for i in range(5)
            ]
        )
        assert scores[name].value == pytest.approx(frames.mean())
        np.testing.assert_allclose(scores.curves[name].values, frames.mean(axis=(0, 2)))
        assert scores[name].floor < scores[name].value  # another clip is worse than a noisy copy
        assert scores[name].interval[0] <= scores[name].value <= scores[name].interval[1]


def test_equal_sets_score_nothing_and_worse_sets_score_more(pair, networks):
    fake, real = pair
    same = score_videos(real, real, ["fid", "fvd", "psnr", "ssim"], networks, options=QUICK)
    worse = score_videos(255 - real, real, ["fid", "fvd", "psnr", "ssim"], networks, options=QUICK)
    some = score_videos(fake, real, ["fid", "fvd", "psnr", "ssim"], networks, options=QUICK)
    assert [score.value for score in same.scores] == pytest.approx([0, 0, 100, 1], abs=1e-9)
    for low, middle, high in zip(same.scores[:2], some.scores[:2], worse.scores[:2], strict=True):
        assert low.value < middle.value < high.value
        assert middle.interval[0] <= middle.value <= middle.interval[1]


def test_order_of_clips_changes_nothing_and_seed_decides_the_interval(pair, networks):
    fake, real = pair
    once, again = (score_videos(fake, real, ["fvd"], networks, options=QUICK).scores[0] for _ in range(2))
    turned = score_videos(fake[::-1], real[::-1], ["fvd"], networks, options=QUICK).scores[0]
    other = score_videos(fake, real, ["fvd"], networks, options=replace(QUICK, seed=1)).scores[0]
    assert once == again
    assert turned.value == pytest.approx(once.value, rel=1e-9)
    assert other.interval != once.interval


def test_condition_frames_are_left_out_and_counted_on_the_card(pair, networks):
    fake, real = (side.copy() for side in pair)
    fake[:, :2] = 0
    options = replace(QUICK, condition_frames=2, frames=3)
    scores = score_videos(fake, real, ["fvd", "psnr"], networks, options=options)
    direct = score_videos(fake[:, 2:5], real[:, 2:5], ["fvd", "psnr"], networks, options=QUICK)
    assert [a.value for a in scores.scores] == [b.value for b in direct.scores]
    assert scores.curves["PSNR"].frames == (2, 3, 4)
    with pytest.raises(BadRequest, match="condition_frames: 2 against 0"):
        check_comparable(scores.scores[0], direct.scores[0])


def test_scores_are_written_whole_and_read_back(pair, networks, tmp_path):
    scores = score_videos(*pair, ["fid", "ssim"], networks, options=QUICK)
    scores.write(tmp_path / "scores.json")
    data = json.loads((tmp_path / "scores.json").read_text())
    assert tuple(Score.from_json(score) for score in data["scores"]) == scores.scores
    assert data["clips"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]
    with pytest.raises(OutputExists, match="exists already"):
        scores.write(tmp_path / "scores.json")
    with pytest.raises(OutputExists, match="cannot be written"):
        scores.write(tmp_path / "none" / "scores.json")
    table = scores.table()
    assert "FD[tokenizer-01234567]" in table
    assert "5 clips scored, 0 left out" in table


def test_one_clip_has_scores_but_no_interval(pair):
    score = score_videos(pair[0][:1], pair[1][:1], ["psnr"]).scores[0]
    assert (score.interval, score.floor) == (None, None)


def write_folder(folder, clips, rate=8.0):
    folder.mkdir()
    for i, clip in enumerate(clips):
        write_video(folder / f"{i}.mp4", clip[:, 0], rate)
    return folder


def test_folders_of_videos_score_like_their_frames(pair, networks, tmp_path):
    from worldmodel.io.video import read_frames

    a, b = (write_folder(tmp_path / name, side) for name, side in zip("ab", pair, strict=True))
    decoded = [np.stack([read_frames(folder / f"{i}.mp4") for i in range(5)])[:, :, None] for folder in (a, b)]
    from_files = score_folders(a, b, ["fid", "psnr"], networks, options=QUICK)
    from_arrays = score_videos(*decoded, ["fid", "psnr"], networks, options=QUICK)
    assert [x.value for x in from_files.scores] == [x.value for x in from_arrays.scores]
    card = from_files.scores[0].card
    assert (card.codec, card.frequency_hz, card.cameras) == ("mp4", 8, "1")
    single = score_folders(a / "0.mp4", b / "0.mp4", ["psnr"])
    assert single.clips == 1


def as_clips(videos, width=48, height=32):
    from worldmodel.clips import Clip
    from worldmodel.geometry import Camera, Rig, look_along

    intrinsics = np.array([[30.0, 0, 24], [0, 30, 16], [0, 0, 1]])
    cameras = tuple(
        Camera(
            name=name,
            intrinsics=intrinsics,
            ego_from_camera=look_along(yaw, np.array([1.0, 0, 1.5])),
            width_px=width,
            height_px=height,
        )
        for name, yaw in (("front", 0.0), ("left", 1.0))
    )
    return [
        Clip(id=f"drive-{i}", video=video, rig=Rig(cameras=cameras), motion=None, frequency_hz=8.0)
        for i, video in enumerate(videos)
    ]


def test_datasets_are_scored_clip_by_clip(pair, networks, tmp_path):
    from worldmodel.io.lerobot import write_dataset

    datasets = [
        write_dataset(as_clips(side), tmp_path / name, name=name) for name, side in zip("ab", pair, strict=True)
    ]
    decoded = [np.stack([data.frames(i, np.arange(6)) for i in range(5)]) for data in datasets]
    from_files = score_folders(tmp_path / "a", tmp_path / "b", ["fvd", "ssim"], networks, options=QUICK)
    from_arrays = score_videos(*decoded, ["fvd", "ssim"], networks, options=QUICK)
    assert [x.value for x in from_files.scores] == [x.value for x in from_arrays.scores]
    assert from_files.scores[0].card.codec == "dataset"
    assert from_files.scores[0].card.cameras == "2, pooled"


def test_unreadable_files_are_listed_and_left_out_on_both_sides(pair, tmp_path):
    a, b = (write_folder(tmp_path / name, side) for name, side in zip("ab", pair, strict=True))
    whole = (a / "0.mp4").read_bytes()
    (a / "0.mp4").write_bytes(b"")
    (b / "3.mp4").write_bytes(whole[: len(whole) // 2])
    scores = score_folders(a, b, ["psnr"], options=QUICK)
    assert scores.clips == 3
    assert [clip.clip for clip in scores.unreadable] == ["0.mp4", "3.mp4"]
    assert scores.scores[0].value > 15
    assert "3 clips scored, 2 left out" in scores.table()
    assert scores.to_json()["unreadable"][0]["clip"] == "0.mp4"
    for path in a.iterdir():
        path.write_bytes(b"")
    with pytest.raises(BadVideo, match="none of 5 clip pairs can be read"):
        score_folders(a, b, ["psnr"])


def test_unlike_folders_are_refused_with_advice(pair, tmp_path):
    a = write_folder(tmp_path / "a", pair[0])
    fast = write_folder(tmp_path / "fast", pair[1], rate=16.0)
    few = write_folder(tmp_path / "few", pair[1][:4])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRequest, match="runs at 8 Hz and folder 'fast' at 16 Hz"):
        score_folders(a, fast, ["psnr"])
    with pytest.raises(BadRequest, match=r"5 clips and folder 'few' 4.*Without one: 4\.mp4"):
        score_folders(a, few, ["psnr"])
    with pytest.raises(BadDataset, match="folder 'empty' holds no videos"):
        score_folders(a, tmp_path / "empty", ["psnr"])
    with pytest.raises(BadDataset, match="is not there"):
        score_folders(a, tmp_path / "none", ["psnr"])


@pytest.mark.parametrize(
    ("change", "metrics", "error", "message"),
    [
        (lambda x: x, ["fidd"], UnknownName, "unknown metric 'fidd'. Did you mean 'fid'"),
        (lambda x: x, [], BadRequest, "name at least one"),
        (lambda x: x, ["fid"], BadRequest, "fid needs a feature network of pictures.*town_r2p1d"),
        (lambda x: x, ["fvd"], BadRequest, "fvd needs a feature network of clips"),
        (lambda x: x[:4], ["psnr"], BadRequest, "4 clips and the arrays 5"),
        (lambda x: x[:0], ["psnr"], BadRequest, "no clips to score"),
        (lambda x: x[..., :40], ["psnr"], BadRequest, "Resize both sides with --size"),
        (lambda x: x[:, :5], ["psnr"], BadRequest, "set --frames for unlike lengths"),
        (lambda x: x / 255, ["psnr"], BadRequest, "need uint8"),
    ],
)
def test_bad_clips_are_refused_with_advice(pair, change, metrics, error, message):
    with pytest.raises(error, match=message):
        score_videos(change(pair[0]), pair[1], metrics)


def test_clips_that_are_too_short_are_refused(pair, networks):
    with pytest.raises(ClipTooShort, match="has 6 frames; 5 after 2 condition"):
        score_videos(*pair, ["psnr"], options=ScoreOptions(condition_frames=2, frames=5))
    with pytest.raises(ClipTooShort, match=r"clips have 1 frames.*--metrics fid"):
        score_videos(*pair, ["fvd"], networks, options=ScoreOptions(frames=1))
    with pytest.raises(BadRequest, match="condition_frames -1"):
        ScoreOptions(condition_frames=-1)


def test_features_that_are_not_finite_are_refused(pair, networks):
    def broken(frames):
        return np.full((len(frames), 12), np.nan)

    bad = FeatureNetworks(pictures=replace(networks.pictures, compute=broken))
    with pytest.raises(BadRequest, match=r"not finite.*feature network's weights"):
        score_videos(*pair, ["fid"], bad)


def test_an_unknown_score_name_offers_the_closest(pair):
    with pytest.raises(UnknownName, match="Did you mean 'PSNR'"):
        score_videos(*pair, ["psnr"], options=QUICK)["PSNRR"]


def test_each_camera_can_be_scored_alone(pair, networks):
    options = replace(QUICK, per_camera=True)
    scores = score_videos(*pair, ["fid", "fvd", "psnr"], networks, options=options)
    assert len(scores.scores) == 9
    for camera in range(2):
        alone = score_videos(*(side[:, :, [camera]] for side in pair), ["fid", "fvd", "psnr"], networks, options=QUICK)
        for one in alone.scores:
            part = scores[f"{one.name} camera {camera}"]
            assert part.value == pytest.approx(one.value, rel=1e-9)
            assert (part.n_a, part.card.cameras) == (one.n_a, "1 of 2")
    whole = score_videos(*pair, ["fid", "fvd", "psnr"], networks, options=QUICK)
    assert [scores[one.name].value for one in whole.scores] == pytest.approx([one.value for one in whole.scores])


def test_sets_of_unlike_numbers_and_names_are_scored_when_asked_for(pair, networks):
    sets = replace(QUICK, paired=False)
    fake, real = pair[0][:4], pair[1]
    scores = score_videos(fake, real, ["fid", "kid", "fvd", "kvd"], networks, options=sets)
    rows = [networks.pictures.features(side.reshape(-1, 3, 32, 48)) for side in (fake, real)]
    assert scores.scores[0].value == pytest.approx(frechet_distance(*rows))
    assert scores.scores[1].value == pytest.approx(polynomial_mmd(*rows))
    assert (scores.scores[2].n_a, scores.scores[2].n_b) == (8, 10)
    assert scores.scores[0].card.pairing == "none, two sets"
    for score in scores.scores:
        assert score.interval[0] <= score.value <= score.interval[1]
    with pytest.raises(BadRequest, match="psnr compares frames of the same moment"):
        score_videos(fake, real, ["psnr"], options=sets)
    with pytest.raises(BadRequest, match="windows, drift"):
        score_videos(fake, real, ["fid"], networks, options=replace(sets, drift=True))


def test_more_features_than_are_kept_give_the_same_distances(pair, networks, monkeypatch):
    from eval_fid_fvd import evidence

    whole = score_videos(*pair, ["fid", "fvd"], networks, options=replace(QUICK, per_camera=True))
    monkeypatch.setattr(evidence.FeatureSet.__init__, "__defaults__", (0, 2000))
    streamed = score_videos(*pair, ["fid", "fvd"], networks, options=replace(QUICK, per_camera=True))
    for a, b in zip(whole.scores[:3], streamed.scores[:3], strict=True):
        assert b.card.rule.endswith("streamed statistics")
        assert b.value == pytest.approx(a.value, rel=1e-8)
        assert b.floor == pytest.approx(a.floor, rel=1e-8)
        assert (b.n_a, b.n_b) == (a.n_a, a.n_b)
        assert b.interval[0] < b.value < b.interval[1]


def test_unlike_sizes_and_rates_are_converted_when_asked_for_and_the_card_says_how(pair, networks):
    from eval_fid_fvd.picture_steps import Resize

    options = replace(QUICK, steps=(Resize(width_px=24, height_px=16),))
    score = score_videos(*pair, ["psnr"], options=options)["PSNR"]
    assert (score.card.size, score.card.conversion) == ("24x16", "to 24x16, antialiased bilinear")
    thinned = score_videos(*pair, ["psnr"], frequency_hz=8, options=replace(QUICK, frequency_hz=4.0))["PSNR"]
    direct = score_videos(*(side[:, ::2] for side in pair), ["psnr"], options=QUICK)["PSNR"]
    assert thinned.value == direct.value
    assert (thinned.card.frames, thinned.card.conversion) == (3, "nearest frames of 8 Hz")


def test_clips_can_be_scored_with_their_condition_frames_and_pictures_without(pair, networks):
    options = replace(QUICK, condition_frames=1, frames=4, clips_with_condition=True)
    scores = score_videos(*pair, ["fid", "fvd", "psnr"], networks, options=options)
    without = score_videos(*pair, ["fid", "psnr"], networks, options=replace(QUICK, condition_frames=1, frames=4))
    whole = score_videos(*pair, ["fvd"], networks, options=replace(QUICK, frames=5))
    values = [scores.scores[i].value for i in (0, 2, 1)]
    assert values == pytest.approx([without.scores[0].value, without.scores[1].value, whole.scores[0].value])
    assert [score.card.frames for score in scores.scores] == [4, 5, 4]
    assert scores.scores[1].card.condition_rule == "scored with the others"


def test_windows_and_drift_come_beside_the_scores(pair, networks, tmp_path):
    options = replace(QUICK, window_s=0.25, drift=True)
    scores = score_videos(*pair, ["fid", "psnr"], networks, frequency_hz=8, options=options)
    assert [trend.metric for trend in scores.trends] == ["fid", "psnr"]
    assert len(scores.trends[0].scores) == 3
    assert "DRIFT OF SHARPNESS" in {score.name for score in scores.scores}
    assert "slope" in scores.table()
    scores.write(tmp_path / "scores.json")
    assert Scores.read(tmp_path / "scores.json") == scores
    with pytest.raises(BadRequest, match="rate is unknown"):
        score_videos(*pair, ["psnr"], options=options)


def test_the_agreement_of_cameras_needs_a_rig(pair):
    with pytest.raises(BadRequest, match="neither side is a dataset"):
        score_videos(*pair, ["psnr"], options=replace(QUICK, consistency=True))


def test_cameras_of_datasets_are_compared_with_each_other(pair, tmp_path):
    from worldmodel.io.lerobot import write_dataset

    for name, side in zip("ab", pair, strict=True):
        write_dataset(as_clips(side), tmp_path / name, name=name)
    options = replace(QUICK, consistency=True, per_camera=True)
    scores = score_folders(tmp_path / "a", tmp_path / "b", ["psnr"], options=options)
    names = [score.name for score in scores.scores]
    assert len(set(names)) == len(names)
    assert "VIEW DISAGREEMENT" in names
    assert scores["VIEW DISAGREEMENT cameras front+left"].value == scores["VIEW DISAGREEMENT"].value  # the only pair


def test_distances_can_be_continued_to_infinitely_many_samples(moving_clips, networks):
    from eval_fid_fvd.extrapolation import frechet_distance_at_infinity

    fake, real = moving_clips(8), moving_clips(8)
    score = score_videos(fake, real, ["fid_inf"], networks, options=QUICK).scores[0]
    rows = [networks.pictures.features(side.swapaxes(1, 2).reshape(-1, 3, 32, 48)) for side in (fake, real)]
    found = frechet_distance_at_infinity(*rows)
    assert score.name == "FD_INF[tokenizer-01234567]"
    assert score.value == pytest.approx(found.value)
    assert score.interval[1] - score.value == pytest.approx(1.96 * found.error, rel=1e-4)
    assert "parabola" in score.card.notes[0]


def test_the_reference_is_on_the_card(pair):
    one, same, other = (
        score_videos(pair[0], real, ["psnr"], options=QUICK).scores[0] for real in (pair[1], pair[1].copy(), pair[0])
    )
    assert one.card.reference == same.card.reference
    with pytest.raises(BadRequest, match=r"reference: 5 clips, pixels \w{12} against 5 clips, pixels"):
        check_comparable(one, other)
