import json
from dataclasses import replace

import numpy as np
import pytest

from eval_fid_fvd.comparison import compare, comparison_table
from eval_fid_fvd.options import ScoreOptions
from eval_fid_fvd.results import Scores
from eval_fid_fvd.videos import score_videos
from worldmodel.errors import BadRequest, BadTable

QUICK = ScoreOptions(resamples=20)


@pytest.fixture
def clips(moving_clips, rng):
    real = moving_clips(4)
    return [np.clip(real + rng.normal(scale=s, size=real.shape), 0, 255).astype(np.uint8) for s in (5, 60)], real


def test_scores_made_alike_stand_beside_each_other(clips):
    (good, bad), real = clips
    rows = compare(*(score_videos(side, real, ["psnr", "ssim"], options=QUICK) for side in (good, bad)))
    assert [row.name for row in rows] == ["PSNR", "SSIM"]
    assert rows[0].difference > 5
    assert rows[0].apart is True
    assert "intervals apart" in comparison_table(rows)
    assert json.loads(json.dumps(rows[0].to_json()))["intervals_apart"] is True


def test_scores_made_unlike_are_refused_with_every_line(clips):
    (good, bad), real = clips
    ours = score_videos(good, real, ["psnr"], options=QUICK)
    theirs = score_videos(bad, real[:, ::-1], ["psnr"], options=replace(QUICK, condition_frames=2))
    with pytest.raises(BadRequest, match=r"(?s)frames: 6 against 4.*condition_frames: 0 against 2.*reference: 4 clips"):
        compare(ours, theirs)
    with pytest.raises(BadRequest, match="at least one must be in both"):
        compare(ours, score_videos(good, real, ["ssim"], options=QUICK))


def test_files_that_hold_no_scores_are_refused(tmp_path):
    with pytest.raises(BadTable, match="cannot be read as scores"):
        Scores.read(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(BadTable, match="it must be a file that `detour score` wrote"):
        Scores.read(tmp_path / "list.json")
