import numpy as np
import pytest

from eval_fid_fvd.evidence import FeatureSet
from eval_fid_fvd.frechet import FeatureStats, frechet_distance, frechet_distance_of_stats
from worldmodel.errors import BadRequest


@pytest.fixture
def clips(rng):
    return [rng.normal(size=(2, 5, 6)) for _ in range(30)]


def filled(clips, budget, seed=0):
    kept = FeatureSet(seed, budget)
    for i, rows in enumerate(clips):
        kept.add(rows, f"clip {i}")
    return kept


def test_everything_is_kept_while_it_fits(clips):
    kept = filled(clips, 10**6)
    assert not kept.streamed
    np.testing.assert_array_equal(np.stack(kept.clips(None)), np.stack(clips).reshape(30, 10, 6))
    np.testing.assert_array_equal(np.stack(kept.clips(1)), np.stack(clips)[:, 1])
    with pytest.raises(BadRequest, match="all features are kept"):
        kept.halves(None)


@pytest.mark.parametrize("group", [None, 0, 1])
def test_beyond_the_budget_statistics_of_every_clip_are_streamed(clips, group):
    kept = filled(clips, 8 * clips[0].nbytes)
    assert kept.streamed
    assert (kept.seen, len(kept.clips(group))) == (30, 8)
    whole = np.stack(clips) if group is None else np.stack(clips)[:, [group]]
    even, odd = kept.halves(group)
    for half, rows in ((even, whole[::2]), (odd, whole[1::2])):
        direct = FeatureStats.of(rows.reshape(-1, 6))
        assert half.count == direct.count
        np.testing.assert_allclose(half.mean, direct.mean, atol=1e-14)
        np.testing.assert_allclose(half.products, direct.products, rtol=1e-12, atol=1e-11)
    streamed = frechet_distance_of_stats(even, odd)
    assert streamed == pytest.approx(frechet_distance(whole[::2].reshape(-1, 6), whole[1::2].reshape(-1, 6)), rel=1e-9)


def test_sets_fed_alike_keep_the_same_clips_and_the_sample_is_fair(clips):
    numbered = [np.full((1, 1, 1), i, np.float64) for i in range(30)]
    first, again = (filled(numbered, 8 * 8, seed=3) for _ in range(2))
    assert [c.item() for c in first.clips(None)] == [c.item() for c in again.clips(None)]
    counts = np.zeros(30)
    for seed in range(400):
        counts[[int(c.item()) for c in filled(numbered, 8 * 8, seed=seed).clips(None)]] += 1
    assert np.abs(counts / 400 - 8 / 30).max() < 0.09  # about four standard deviations


def test_features_that_are_not_finite_name_their_clip(clips):
    clips[4][0, 2, 1] = np.nan
    with pytest.raises(BadRequest, match=r"clip 'clip 4' has features that are not finite.*feature network's weights"):
        filled(clips, 10**6)
