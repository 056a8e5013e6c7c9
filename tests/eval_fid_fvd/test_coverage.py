import numpy as np
import pytest

from eval_fid_fvd import coverage
from eval_fid_fvd.coverage import density_coverage, expected_coverage, precision_recall, values_per_sample
from worldmodel.errors import BadRequest


def distance(x, y):
    return np.sqrt(sum((p - q) ** 2 for p, q in zip(x, y, strict=True)))


def radius(rows, i, k):
    return sorted(distance(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]


def naive(real, fake, k):
    """All four as the papers write them, in plain loops."""
    real_radii = [radius(real, i, k) for i in range(len(real))]
    fake_radii = [radius(fake, j, k) for j in range(len(fake))]
    in_real = np.array([[distance(x, y) <= r for x, r in zip(real, real_radii, strict=True)] for y in fake])
    in_fake = np.array([[distance(x, y) <= r for y, r in zip(fake, fake_radii, strict=True)] for x in real])
    return {
        "precision": in_real.any(axis=1).mean(),
        "recall": in_fake.any(axis=1).mean(),
        "density": in_real.sum() / (k * len(fake)),
        "coverage": in_real.any(axis=0).mean(),
    }


def ours(real, fake, k):
    return precision_recall(real, fake, k) | density_coverage(real, fake, k)


@pytest.mark.parametrize(("n", "m", "d", "k"), [(30, 30, 2, 3), (41, 12, 5, 5), (9, 25, 1, 1), (6, 6, 3, 5)])
def test_follows_the_naive_definition(rng, n, m, d, k):
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 0.8 + 0.5
    assert ours(real, fake, k) == pytest.approx(naive(real, fake, k), abs=1e-15)


@pytest.mark.parametrize("shift", [0, 10_000_019])
def test_ties_are_decided_as_by_the_definition(rng, shift):
    real, fake = rng.integers(0, 4, size=(60, 2)) + shift, rng.integers(1, 5, size=(50, 2)) + shift
    assert ours(real, fake, 3) == pytest.approx(naive(real.tolist(), fake.tolist(), 3), abs=1e-15)


def test_defaults_are_those_of_the_papers(rng):
    real, fake = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 1
    assert precision_recall(real, fake) == precision_recall(real, fake, 3)
    assert density_coverage(real, fake) == density_coverage(real, fake, 5)


@pytest.mark.parametrize(("name", "rows"), [("precision", 31), ("recall", 40), ("density", 31), ("coverage", 40)])
def test_scores_are_means_of_a_value_per_sample(rng, name, rows):
    real, fake = rng.normal(size=(40, 3)), rng.normal(size=(31, 3)) + 0.7
    values = values_per_sample(name, real, fake)
    assert values.shape == (rows,)
    assert (precision_recall(real, fake) | density_coverage(real, fake))[name] == pytest.approx(
        values.mean(), abs=1e-15
    )


def test_points_on_a_line_have_their_closed_form():
    real, fake = np.arange(10.0)[:, None], np.array([[0.4], [0.4], [4.5], [20.0], [21.0]])
    # k = 1: balls of real samples reach 1 to both sides; those of 0.4 reach 0, of 4.5 reach 4.1, of 20 and 21 reach 1
    assert precision_recall(real, fake, 1) == {"precision": 3 / 5, "recall": 8 / 10}
    assert density_coverage(real, fake, 1) == {"density": 6 / 5, "coverage": 4 / 10}


@pytest.mark.parametrize("rows", [np.zeros((8, 3)), np.arange(24.0).reshape(8, 3)])
def test_a_set_covers_itself_even_if_all_samples_are_equal(rows):
    scores = ours(rows, rows[::-1], 2)
    assert scores["precision"] == scores["recall"] == scores["coverage"] == 1
    assert scores["density"] >= 1


def test_equal_distributions_have_expected_coverage_and_density_one(rng):
    draws = [density_coverage(rng.normal(size=(60, 4)), rng.normal(size=(40, 4)), 3) for _ in range(150)]
    covered, dense = ([draw[name] for draw in draws] for name in ("coverage", "density"))
    assert abs(np.mean(covered) - expected_coverage(60, 40, 3)) < 4 * np.std(covered) / np.sqrt(150)
    assert abs(np.mean(dense) - 1) < 4 * np.std(dense) / np.sqrt(150)


def test_a_collapsed_generator_is_precise_but_covers_little(rng):
    real = rng.normal(size=(200, 4))
    fake = real[:1] + 1e-3 * rng.normal(size=(200, 4))
    assert precision_recall(real, fake)["precision"] == 1
    assert precision_recall(real, fake)["recall"] < 0.05
    assert density_coverage(real, fake)["coverage"] < 0.2


def test_order_shift_and_rotation_change_nothing(rng):
    real, fake = rng.normal(size=(50, 6)), rng.normal(size=(45, 6)) + 0.5
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert ours(real @ turn + 3, (fake @ turn + 3)[::-1], 4) == ours(real[rng.permutation(50)], fake, 4)


def test_precision_and_recall_swap_with_the_sides(rng):
    real, fake = rng.normal(size=(50, 3)), rng.normal(size=(30, 3)) + 0.7
    there, back = precision_recall(real, fake), precision_recall(fake, real)
    assert (there["precision"], there["recall"]) == (back["recall"], back["precision"])


def test_blocks_change_nothing(rng, monkeypatch):
    real, fake = rng.integers(0, 3, size=(50, 2)), rng.integers(0, 3, size=(41, 2))
    whole = ours(real, fake, 3)
    monkeypatch.setattr(coverage, "BLOCK_VALUES", 120)
    assert ours(real, fake, 3) == whole


@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (np.zeros((3, 2)), np.zeros((9, 2)), 3, "3 real and 9 generated samples with k = 3.*choose a smaller k"),
        (np.zeros((9, 2)), np.zeros((9, 2)), 0, "at least 1"),
        (np.zeros((9, 2)), np.zeros((9, 3)), 3, "widths 2 and 3"),
        (np.zeros((9, 2)), np.full((9, 2), np.nan), 3, "features generated: 9 of 9 rows"),
        (np.zeros((0, 2)), np.zeros((9, 2)), 3, "features real: 0 sample"),
    ],
)
def test_bad_features_are_refused_with_advice(real, fake, k, message):
    for score in (precision_recall, density_coverage):
        with pytest.raises(BadRequest, match=message):
            score(real, fake, k)


def test_precision_and_recall_agree_with_torch_fidelity(rng):
    metric_prc = pytest.importorskip("torch_fidelity.metric_prc")
    torch = pytest.importorskip("torch")
    real, fake = rng.normal(size=(80, 6)), rng.normal(size=(70, 6)) + 0.6
    precision, recall = metric_prc.calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real))
    assert precision_recall(real, fake) == pytest.approx({"precision": precision, "recall": recall}, abs=1e-6)
