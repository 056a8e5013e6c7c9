"""Tests of the tests: each of these plausible mistakes in a formula must be caught by the tests named beside it.

A row is (file, text in it, what the mistake makes of it, tests that must fail). To add one, append it; the text must occur
once. The mistake is made in a copy of the package, never in the package itself.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "eval_fid_fvd", ROOT / "tests" / "eval_fid_fvd"
FIXTURES = """
import numpy as np
import pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "slow: as in the project")

@pytest.fixture
def rng():
    return np.random.default_rng(7)
"""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One mistake: what it is, where it is made, and who must notice."""

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        what="N for N - 1",
        file="frechet.py",
        old="stats.root / np.sqrt(stats.count - 1) for stats",
        new="stats.root / np.sqrt(stats.count) for stats",
        tests=(
            "test_frechet.py::test_covariance_is_unbiased",
            "test_frechet.py::test_two_samples_each_have_their_closed_form",
        ),
    ),
    Mutation(
        what="+ 1e-6 I",
        file="frechet.py",
        old="a, b = (stats.root / np.sqrt(stats.count - 1) for stats in (stats_a, stats_b))",
        new="a, b = (np.vstack([s.root / np.sqrt(s.count - 1), 1e-3 * np.eye(s.width)]) for s in (stats_a, stats_b))",
        tests=(
            "test_frechet.py::test_nothing_is_added_to_the_diagonal",
            "test_frechet.py::test_below_at_and_above_the_width_the_distance_is_that_of_exact_arithmetic",
        ),
    ),
    Mutation(
        what="float32 statistics",
        file="frechet.py",
        old="rows = rows.astype(np.float64, copy=False)",
        new="rows = rows.astype(np.float32)",
        tests=(
            "test_frechet.py::test_float32_features_are_computed_in_float64",
            "test_frechet.py::test_means_of_ten_million_lose_nothing",
            "test_kernel.py::test_unequal_sizes_follow_the_definition",
        ),
    ),
    Mutation(
        what="raw moments",
        file="frechet.py",
        old="root = _compressed(shifted) if len(rows) > 1 else shifted[:0]",
        new="middle, n = rows.mean(axis=0), len(rows)\n"
        "        raw = (rows.T @ rows - n * np.outer(middle, middle)) / max(n - 1, 1)\n"
        "        values, vectors = np.linalg.eigh(raw)\n"
        "        root = (vectors * np.sqrt(values.clip(0) * (n - 1))).T",
        tests=(
            "test_frechet.py::test_means_of_ten_million_lose_nothing",
            "test_frechet.py::test_streamed_statistics_of_near_singular_sets_keep_all_digits",
        ),
    ),
    Mutation(
        what="means of pieces forgotten when they are merged",
        file="frechet.py",
        old="np.concatenate([self.root, other.root, between[None]])",
        new="np.concatenate([self.root, other.root])",
        tests=("test_frechet.py::test_streamed_statistics_give_the_batch_distance_in_any_order",),
    ),
    Mutation(
        what="negative distances clamped",
        file="frechet.py",
        old="return float(shift @ shift + (a * a).sum() + (b * b).sum() - 2 * _nuclear_norm_of_cross(a, b))",
        new="return float(np.sqrt(max(0, shift @ shift + (a * a).sum() + (b * b).sum() - 2 * _nuclear_norm_of_cross(a, b))))",
        tests=("test_frechet.py::test_shifted_and_scaled_gaussian_has_its_closed_form",),
    ),
    Mutation(
        what="the root of the product's eigenvalues",
        file="frechet.py",
        old="return float(np.linalg.svd(a @ b.T, compute_uv=False).sum())",
        new="return float(np.sqrt(np.linalg.eigvals((a.T @ a) @ (b.T @ b)).astype(complex)).real.sum())",
        tests=("test_frechet.py::test_commuting_covariances_have_their_closed_form",),
    ),
    Mutation(
        what="V-statistic",
        file="kernel.py",
        old="(_kernel_sums(a, a, times_a, times_a) - _diagonal_sums(a, times_a)) / (n * (n - 1))",
        new="_kernel_sums(a, a, times_a, times_a) / (n * n)",
        tests=(
            "test_kernel.py::test_unequal_sizes_follow_the_definition",
            "test_kernel.py::test_four_points_have_their_closed_form",
        ),
    ),
    Mutation(
        what="U-statistic without the cross diagonal, for equal sizes",
        file="kernel.py",
        old="- 2 * _kernel_sums(a, b, times_a, times_b) / (n * m))",
        new="- 2 * _kernel_sums(a, b, times_a, times_b) / (n * (m - 1)))",
        tests=("test_kernel.py::test_unequal_sizes_follow_the_definition",),
    ),
    Mutation(
        what="sample deviation over subsets",
        file="kernel.py",
        old="return float(values.mean()), float(values.std())",
        new="return float(values.mean()), float(values.std(ddof=1))",
        tests=("test_kernel.py::test_subsets_may_overlap_repeat_rows_and_have_unequal_sizes",),
    ),
    Mutation(
        what="a sample is its own first neighbour",
        file="coverage.py",
        old="squared[own, start + own] = np.inf",
        new="pass",
        tests=("test_coverage.py::test_follows_the_naive_definition",),
    ),
    Mutation(
        what="open balls",
        file="coverage.py",
        old="hit[i[some], j[some]] = exact <= squared_radii[j[some]]",
        new="hit[i[some], j[some]] = exact < squared_radii[j[some]]",
        tests=("test_coverage.py::test_ties_are_decided_as_by_the_definition",),
    ),
    Mutation(
        what="ties left to rounding",
        file="coverage.py",
        old="np.nonzero(np.abs(squared - squared_radii) <= slack)",
        new="np.nonzero(np.abs(squared - squared_radii) < 0)",
        tests=("test_coverage.py::test_ties_are_decided_as_by_the_definition",),
    ),
    Mutation(
        what="real and generated swapped in density",
        file="coverage.py",
        old='return {"density": float(hits.mean() / neighbours)',
        new='return {"density": float(held.mean() / neighbours)',
        tests=("test_coverage.py::test_follows_the_naive_definition",),
    ),
    Mutation(
        what="a line in N instead of 1/N",
        file="extrapolation.py",
        old="np.polynomial.Polynomial.fit(np.arange(1, len(distances) + 1), distances, degree)",
        new="np.polynomial.Polynomial.fit(1.0 / np.arange(1, len(distances) + 1), distances, degree)",
        tests=("test_extrapolation.py::test_removes_the_bias_of_few_samples_and_knows_its_error",),
    ),
    Mutation(
        what="no exclusion rule",
        file="collisions.py",
        old="return _columns(raster_hits(p, taken) & ~excused)",
        new="return _columns(raster_hits(p, taken))",
        tests=(
            "test_collisions.py::test_where_the_driven_path_collides_the_plan_is_excused_but_counted",
            "test_collisions.py::test_the_published_count_agrees_with_its_published_steps",
        ),
    ),
    Mutation(
        what="cells rounded instead of cut",
        file="collisions.py",
        old="np.trunc(y / CELL_M + ROWS)",
        new="np.round(y / CELL_M + ROWS)",
        tests=(
            "test_collisions.py::test_cells_are_cut_towards_zero_and_held_at_the_edge",
            "test_collisions.py::test_the_published_count_agrees_with_its_published_steps",
        ),
    ),
    Mutation(
        what="lateral mirrored",
        file="collisions.py",
        old="np.trunc(x / CELL_M + COLUMNS)",
        new="np.trunc(-x / CELL_M + COLUMNS)",
        tests=("test_collisions.py::test_right_is_right_and_forward_is_forward",),
    ),
    Mutation(
        what="the ego never turned",
        file="collisions.py",
        old="own = corners(np.array([middle[1], -middle[0], pose[2]]), ego.length_m, ego.width_m)",
        new="own = corners(np.array([middle[1], -middle[0], 0.0]), ego.length_m, ego.width_m)",
        tests=(
            "test_collisions.py::test_a_turned_ego_reaches_where_the_published_one_does_not",
            "test_collisions.py::test_box_counts_do_not_depend_on_the_frame",
        ),
    ),
    Mutation(
        what="samples that are not whole kept",
        file="planning.py",
        old="whole = error[valid.all(axis=1)]",
        new="whole = error",
        tests=(
            "test_planning.py::test_masked_steps_count_as_zero_for_uniad_and_drop_the_sample_for_stp3",
            "test_planning.py::test_both_conventions_agree_with_loops",
        ),
    ),
    Mutation(
        what="signed pointing mass",
        file="grounding.py",
        old="positive = np.maximum(heat, 0.0)",
        new="positive = heat",
        tests=(
            "test_grounding.py::test_pointing_mass_is_of_the_positive_part_alone",
            "test_grounding.py::test_a_map_without_positive_part_points_nowhere_but_still_ranks",
        ),
    ),
    Mutation(
        what="quantile instead of exact K",
        file="grounding.py",
        old="chosen = order[: len(heat) // TOP_PART]",
        new="chosen = np.flatnonzero(heat >= np.quantile(heat, 1 - 1 / TOP_PART))",
        tests=(
            "test_grounding.py::test_exactly_a_fifth_is_selected_even_among_equals",
            "test_grounding.py::test_scores_agree_with_loops",
        ),
    ),
    Mutation(
        what="trapezoid AP",
        file="grounding.py",
        old="return float((np.diff(recall, prepend=0.0) * found / (last + 1)).sum())",
        new="return float(np.trapezoid(np.append(1.0, found / (last + 1)), np.append(0.0, recall)))",
        tests=(
            "test_grounding.py::test_a_constant_map_has_the_prevalence_as_precision",
            "test_grounding.py::test_scores_agree_with_loops",
        ),
    ),
    Mutation(
        what="every flaw of the human forgives",
        file="pdm_scores.py",
        old="np.where(theirs == 0.0, 1.0, columns[name])",
        new="np.where(theirs < 1.0, 1.0, columns[name])",
        tests=("test_pdm_scores.py::test_the_filter_forgives_exact_zeros_only_and_never_extended_comfort",),
    ),
    Mutation(
        what="the product of means",
        file="carla.py",
        old='"mean_ds": float(score.mean())',
        new='"mean_ds": float(penalty.mean() * np.mean([one.completion_percent for one in checked]))',
        tests=(
            "test_carla.py::test_the_mean_is_of_products_not_the_product_of_means",
            "test_carla.py::test_every_version_agrees_with_the_leaderboards_loop",
        ),
    ),
)


def name_of(mutation):
    return f"{mutation.file}: {mutation.what}"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=name_of)
def test_every_mistake_can_be_made_and_its_tests_exist(mutation):
    assert (PACKAGE / mutation.file).read_text().count(mutation.old) == 1, "say the text anew, it must occur once"
    for test in mutation.tests:
        file, name = test.split("::")
        assert f"def {name}(" in (TESTS / file).read_text(), test


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with a copy of the package and of the tests that are named above."""
    folder = tmp_path_factory.mktemp("mutations")
    shutil.copytree(PACKAGE, folder / "eval_fid_fvd", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "conftest.py").write_text(FIXTURES)  # the suite's own fixtures load models; these tests need numbers only
    for file in {test.split("::")[0] for mutation in MUTATIONS for test in mutation.tests}:
        shutil.copy(TESTS / file, folder / file)
    return folder


def run(folder, *tests):
    """Pytest on some tests in a process that finds the copied package first."""
    found_first = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": found_first, "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--tb=line", "--rootdir", str(folder), "-c", os.devnull]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)


@pytest.mark.slow
def test_without_a_mistake_all_named_tests_pass(workshop):
    done = run(workshop, *sorted({test for mutation in MUTATIONS for test in mutation.tests}))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=name_of)
def test_a_mistake_makes_its_tests_fail(mutation, workshop):
    file = workshop / "eval_fid_fvd" / mutation.file
    text = file.read_text()
    file.write_text(text.replace(mutation.old, mutation.new))
    try:
        done = run(workshop, *mutation.tests)
    finally:
        file.write_text(text)
    assert done.returncode == 1, done.stdout + done.stderr  # 1: tests ran and failed; others: they could not run
    caught = {line.split("::")[1].split("[")[0].split(" ")[0] for line in done.stdout.splitlines() if "FAILED" in line}
    assert caught == {test.split("::")[1] for test in mutation.tests}, done.stdout
