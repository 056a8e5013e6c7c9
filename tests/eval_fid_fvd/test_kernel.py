import numpy as np
import pytest

from eval_fid_fvd import kernel
from eval_fid_fvd.kernel import polynomial_mmd, polynomial_mmd_subsets
from worldmodel.errors import BadRequest


def by_hand(a, b):
    def k(x, y):
        return (x @ y / len(x) + 1) ** 3

    n, m = len(a), len(b)
    xx = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


def with_torch_fidelity(a, b):
    mmd2 = pytest.importorskip("torch_fidelity.metric_kid").mmd2  # slow to import

    def gram(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    return mmd2(gram(a, a), gram(a, b), gram(b, b))


def test_unequal_sizes_follow_the_definition(rng):
    a, b = rng.normal(size=(7, 5)), rng.normal(size=(11, 5)) + 0.5
    assert polynomial_mmd(a, b) == pytest.approx(by_hand(a, b), rel=1e-12)
    assert polynomial_mmd(b, a) == pytest.approx(polynomial_mmd(a, b), rel=1e-12)


def test_agrees_with_torch_fidelity_for_equal_sizes(rng):
    a, b = rng.normal(size=(60, 30)), rng.normal(size=(60, 30)) + 0.2
    assert polynomial_mmd(a, b) == pytest.approx(with_torch_fidelity(a, b), rel=1e-11)


def test_blocks_change_nothing(rng, monkeypatch):
    a, b = rng.normal(size=(50, 4)), rng.normal(size=(41, 4))
    whole = polynomial_mmd(a, b)
    monkeypatch.setattr(kernel, "BLOCK_VALUES", 7 * 41)
    assert polynomial_mmd(a, b) == pytest.approx(whole, abs=1e-12)


def test_diagonals_are_left_out_so_that_equal_arrays_give_a_negative_value(rng):
    a = rng.normal(size=(30, 6))
    assert polynomial_mmd(a, a) < -1e-3


def test_mean_over_many_draws_of_one_distribution_is_zero(rng):
    values = [polynomial_mmd(rng.normal(size=(20, 3)), rng.normal(size=(15, 3))) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20


def test_large_features_keep_their_digits(rng):
    a, b = rng.normal(size=(40, 8)) + 100, rng.normal(size=(40, 8)) + 100.5
    truth = with_torch_fidelity(a.astype(np.longdouble), b.astype(np.longdouble))
    assert polynomial_mmd(a, b) == pytest.approx(float(truth), rel=1e-7)
    single = with_torch_fidelity(a.astype(np.float32), b.astype(np.float32))
    assert abs(single / float(truth) - 1) > 1e-6  # the test can tell float32 kernels


def test_subsets_give_mean_and_population_deviation(rng):
    a, b = rng.normal(size=(30, 6)), rng.normal(size=(25, 6)) + 1
    rows_a = np.stack([rng.permutation(30)[:10] for _ in range(5)])
    rows_b = np.stack([rng.permutation(25)[:10] for _ in range(5)])
    values = [with_torch_fidelity(a[i], b[j]) for i, j in zip(rows_a, rows_b, strict=True)]
    mean, std = polynomial_mmd_subsets(a, b, rows_a, rows_b)
    assert mean == pytest.approx(np.mean(values), rel=1e-11)
    assert std == pytest.approx(np.std(values, ddof=0), rel=1e-9)


@pytest.mark.parametrize(("n", "m", "k", "many"), [(30, 25, 12, 20), (400, 300, 5, 3), (9, 9, 9, 1)])
def test_subsets_may_overlap_repeat_rows_and_have_unequal_sizes(rng, n, m, k, many):
    a, b = rng.normal(size=(n, 6)), rng.normal(size=(m, 6)) + 1
    rows_a, rows_b = rng.integers(0, n, size=(many, k)), rng.integers(0, m, size=(many, k + 1))
    values = [by_hand(a[i], b[j]) for i, j in zip(rows_a, rows_b, strict=True)]
    mean, std = polynomial_mmd_subsets(a, b, rows_a, rows_b)
    assert mean == pytest.approx(np.mean(values), rel=1e-11)
    assert std == pytest.approx(np.std(values), rel=1e-9, abs=1e-12)


def test_lists_integers_and_single_precision_are_read_as_numbers(rng):
    a, b = rng.integers(0, 9, size=(8, 4)), rng.integers(0, 9, size=(6, 4))
    value = polynomial_mmd(a.astype(float), b.astype(float))
    assert polynomial_mmd(a, b) == value == polynomial_mmd(a.tolist(), b.astype(np.float32))
    assert polynomial_mmd_subsets(a.tolist(), b, [[0, 1, 2]], [[3, 4, 5]])[1] == 0


def test_order_and_rotation_change_nothing(rng):
    a, b = rng.normal(size=(20, 6)) + 1, rng.normal(size=(15, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    value = polynomial_mmd(a, b)
    assert polynomial_mmd(a[::-1], b[rng.permutation(15)]) == pytest.approx(value, abs=1e-12)
    assert polynomial_mmd(a @ turn, b @ turn) == pytest.approx(value, abs=1e-12)


def test_four_points_have_their_closed_form():
    a, b = np.array([[1.0], [-1.0]]), np.array([[2.0], [0.0]])
    # k(1,-1) = 0; k(2,0) = 1; k(1,2) = 27, k(1,0) = 1, k(-1,2) = -1, k(-1,0) = 1
    assert polynomial_mmd(a, b) == 0 + 1 - 2 * 28 / 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([[0, 9]]), "integers from 0 to 3"),
        (np.array([[-1, 2]]), "integers from 0 to 3"),
        (np.array([[0.0, 1.0]]), "float64"),
        (np.array([0, 1]), r"\[subsets, k\]"),
        (np.array([[0]]), "k >= 2"),
        (np.zeros((2, 3), int), "2 subsets of a and 1 of b"),
    ],
)
def test_bad_subsets_are_refused_with_advice(rng, rows, message):
    a = rng.normal(size=(4, 3))
    with pytest.raises(BadRequest, match=message):
        polynomial_mmd_subsets(a, a, rows, np.array([[0, 1]]))


def test_bad_features_are_refused():
    with pytest.raises(BadRequest, match="widths 3 and 2"):
        polynomial_mmd(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(BadRequest, match="at least 2"):
        polynomial_mmd(np.zeros((1, 3)), np.zeros((4, 3)))
