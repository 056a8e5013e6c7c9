"""Heat maps of planners held against what is in the pictures, with the checks without which such scores say nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eval_fid_fvd.grounding import cell_shares, grounding_table, pointing_mass, pointing_ratio, upsampled
from eval_fid_fvd.statistics import RESAMPLES, bootstrap_indices
from policy.integrated_gradients import BASELINES, integrated
from policy.learned import LearnedPlanner
from policy.saliency import HEATS, Views, cams, heat_of, token_gradients
from policy.saliency_checks import STAGES, randomised, rank_correlation
from policy.saliency_patches import Patches, patch_effects
from policy.seeing import Seen
from studio.saliency_masks import Masks
from worldmodel.geometry import Array

TARGETS = (
    "users",
    "ahead",
    "everywhere",
)  # road users in front, the one in the lane in front, road users in all cameras
MAIN, CHECK_SEEDS, SHIFTS = "gradcam", tuple(range(10)), (1, 2, 3)
WHOLE = STAGES[-1]


def target_of(masks: Masks, target: str, front: int) -> Bool[Array, "h w"]:
    """The mask of a target as one picture: of the front camera, or of all cameras side by side."""
    if target == "everywhere":
        return np.concatenate(list(masks.users), axis=1)
    return np.asarray(getattr(masks, target)[front])


def picture_of(maps: Float[Array, "camera h w"], target: str, front: int, shape: tuple[int, int]) -> Array:
    """A map at the size of the pictures, as one picture of the same cameras as `target_of`."""
    if target == "everywhere":
        return np.concatenate(list(upsampled(maps, *shape)), axis=1)
    return upsampled(maps[front], *shape)


class Scorer:
    """Holds maps of some scenes against their masks.

    Args:
        masks: Of each scene.
        front: Number of the front camera.
        seed: Of the bootstrap over scenes.
    """

    def __init__(self, masks: Sequence[Masks], front: int, *, seed: int = 0) -> None:
        self.front, self.seed = front, seed
        self.shape = masks[0].users.shape[1:]
        self.masks = {name: [target_of(each, name, front) for each in masks] for name in TARGETS}
        self.shown = {name: np.array([each.any() for each in some]) for name, some in self.masks.items()}
        self._cells: dict[tuple[str, tuple[int, ...]], tuple[Array, Array]] = {}
        self.area = {
            name: np.array([each.mean() for each in some])[self.shown[name]] for name, some in self.masks.items()
        }

    def masses(self, maps: Float[Array, "n camera h w"], target: str) -> Float[Array, " m"]:
        """Pointing mass of every scene in which the target is to be seen."""
        rows = np.flatnonzero(self.shown[target])
        if (maps >= 0).all():
            return self._masses_of_cells(maps[rows], target)
        pictures = (picture_of(maps[row], target, self.front, self.shape) for row in rows)
        return np.array(
            [pointing_mass(p.ravel(), self._mask(target, row)) for p, row in zip(pictures, rows, strict=True)]
        )

    def _mask(self, target: str, row: np.integer) -> Array:
        return self.masks[target][row].ravel()

    def _masses_of_cells(self, maps: Float[Array, "m camera h w"], target: str) -> Float[Array, " m"]:
        """The same for maps without negative cells, without making pictures of them."""
        inside, whole = self._shares(target, maps.shape[-2:])
        heat = maps if target == "everywhere" else maps[:, self.front : self.front + 1]
        total = (heat * whole).sum(axis=(1, 2, 3))
        found: Array = (heat * inside).sum(axis=(1, 2, 3)) / np.where(total > 0, total, 1.0)
        return found

    def _shares(self, target: str, grid: tuple[int, ...]) -> tuple[Array, Array]:
        """`cell_shares` of every scene in which the target is to be seen, [m, camera, h, w], and of a picture [h, w]."""
        if (target, grid) not in self._cells:
            shown = [mask for mask, there in zip(self.masks[target], self.shown[target], strict=True) if there]
            split = [np.split(mask, mask.shape[1] // self.shape[1], axis=1) for mask in shown]
            inside = [[cell_shares(one, *grid)[0] if one.any() else np.zeros(grid) for one in each] for each in split]
            self._cells[target, grid] = np.array(inside), cell_shares(np.ones(self.shape, bool), *grid)[1]
        return self._cells[target, grid]

    def ratio(self, masses: Float[Array, "*k m"], target: str) -> dict[str, Any]:
        """Mean mass over mean area share, also of differences of masses; interval over scenes.

        With one row of masses per network, `each` is the ratio of every network, and the interval is over networks and scenes.
        """
        generator, area = np.random.default_rng(self.seed), self.area[target]
        if masses.ndim == 1 or len(masses) == 1:
            return pointing_ratio(masses.reshape(-1), area, generator)
        scenes = bootstrap_indices(len(area), RESAMPLES, generator)
        networks = bootstrap_indices(len(masses), RESAMPLES, generator)
        drawn = [masses[n][:, s].mean() / area[s].mean() for n, s in zip(networks, scenes, strict=True)]
        low, high = np.quantile(drawn, [0.025, 0.975])
        each = (masses.mean(axis=1) / area.mean()).tolist()
        return {"value": float(np.mean(each)), "interval": (float(low), float(high)), "each": each}

    def table(self, maps: Float[Array, "n camera h w"], target: str) -> dict[str, Any]:
        """All grounding scores."""
        pictures = [picture_of(each, target, self.front, self.shape) for each in maps]
        wide = maps.shape[1] if target == "everywhere" else 1
        grid = (maps.shape[2], maps.shape[3] * wide)
        return grounding_table(pictures, self.masks[target], np.random.default_rng(self.seed), grid=grid)


def measured(planner: LearnedPlanner, views: Views, scorer: Scorer) -> dict[str, Any]:
    """Everything about the maps of one planner on some scenes.

    Returns:
        `layers`: per visual layer and way of `HEATS`, the `pm_over_area` of each target; `scores`: full tables of the main layer's
        Grad-CAM; `pm`: its pointing mass scene by scene; `sanity`: as `sanity`.
    Raises:
        NotApplicable: for a planner without pixels.
    """
    gradients = token_gradients(planner.network, planner.config, views)
    maps = {how: heat_of(gradients, planner.config, how) for how in HEATS}
    main = next(iter(maps[MAIN]))
    layers = {
        layer: {
            how: {name: scorer.ratio(scorer.masses(found[layer], name), name) for name in TARGETS}
            | {"zero_maps": zero_share(found[layer])}
            for how, found in maps.items()
        }
        for layer in maps[MAIN]
    }
    heat = maps[MAIN][main]
    return {
        "main_layer": main,
        "layers": layers,
        "scores": {name: scorer.table(heat, name) for name in TARGETS},
        "pm": {name: scorer.masses(heat, name) for name in TARGETS},
        "sanity": sanity(planner, views, scorer, heat),
    }


def zero_share(maps: Float[Array, "n camera h w"]) -> float:
    """Share of maps without any heat."""
    return float(np.mean(~(maps > 0).any(axis=(1, 2, 3))))


def sanity(
    planner: LearnedPlanner, views: Views, scorer: Scorer, heat: Float[Array, "n camera h w"]
) -> dict[str, dict[str, Any]]:
    """What is left of the main layer's maps when the weights lose their order, or the pictures are of other scenes.

    Returns:
        Per check (`weights: STAGE`, `pictures of other scenes`): `correlation`, mean rank correlation with the true map;
        `zero_maps`; `tries`, how many networks or exchanges there were; and for each target its `pm_over_area`, `lost`: how
        much larger the true map's is, paired by scene; and `above`: than how many of the tries.
    """
    checks = {
        f"weights: {stage}": [_main(randomised(planner, stage, seed), views) for seed in _seeds(stage)]
        for stage in STAGES
    }
    checks["pictures of other scenes"] = [_main(planner, rolled(views, shift)) for shift in SHIFTS]
    return {name: _check(found, heat, scorer) for name, found in checks.items()}


def _seeds(stage: str) -> tuple[int, ...]:
    """Several orders where all weights lose theirs, for one network's map is as good or bad as luck has it; one on the way there."""
    return CHECK_SEEDS if stage == WHOLE else CHECK_SEEDS[:1]


def _main(planner: LearnedPlanner, views: Views) -> Array:
    return next(iter(cams(planner, views, MAIN).values()))


def rolled(views: Views, shift: int) -> Views:
    """Every scene with the pictures of another one; ego status, words, and the driven path stay."""
    seen = views.seen
    pictures = {name: getattr(seen, name).roll(shift, dims=0) for name in ("cells", "rays")}
    return Views(seen=Seen(**pictures, ego=seen.ego, text=seen.text), plans=views.plans)


def _check(found: Sequence[Array], heat: Array, scorer: Scorer) -> dict[str, Any]:
    correlations = [rank_correlation(a, b) for maps in found for a, b in zip(maps, heat, strict=True)]
    row: dict[str, Any] = {
        "correlation": float(np.mean(correlations)),
        "zero_maps": float(np.mean([zero_share(maps) for maps in found])),
        "tries": len(found),
    }
    for name in TARGETS:
        masses, mine = np.stack([scorer.masses(maps, name) for maps in found]), scorer.masses(heat, name)
        row[name] = {"pm_over_area": scorer.ratio(masses, name), "lost": scorer.ratio(mine - masses, name)}
        row[name]["above"] = int((mine.mean() > masses.mean(axis=1)).sum())
    return row


def differences(
    results: Mapping[str, Mapping[str, Any]], pairs: Sequence[tuple[str, str]], scorer: Scorer
) -> list[dict[str, Any]]:
    """How much more of its heat one planner has on the target than another, over the area share; paired by scene.

    Args:
        results: `measured` of planners by name.
        pairs: Names, the one that is subtracted second.
    """
    return [
        {"planner": one, "minus": other}
        | {name: scorer.ratio(results[one]["pm"][name] - results[other]["pm"][name], name) for name in TARGETS}
        for one, other in pairs
    ]


def cross_checks(
    planner: LearnedPlanner, views: Views, patches: Sequence[Patches], scorer: Scorer, *, steps: int
) -> dict[str, dict[str, Any]]:
    """Integrated gradients and grey patches on the same scenes.

    Args:
        patches: Of each scene.
        steps: Of integrated gradients.
    Returns:
        Per method the `pm_over_area` of each target and `correlation`, the mean rank correlation with Grad-CAM; for integrated
        gradients also `error`, the median completeness error; for patches `effect_m`, the mean of the largest effect.
    """
    heat, rows = _main(planner, views), [views[i : i + 1] for i in range(len(views))]
    found: dict[str, dict[str, Any]] = {}
    for baseline in BASELINES:
        each = [integrated(planner, row, baseline, steps=steps) for row in rows]
        extra = {"error": float(np.median([one.error for one in each]))}
        found[f"integrated ({baseline})"] = _crossed(np.stack([one.maps for one in each]), heat, scorer) | extra
    effects = np.stack([patch_effects(planner, row.seen, one) for row, one in zip(rows, patches, strict=True)])
    largest = {"effect_m": float(effects.max(axis=(1, 2, 3)).mean())}
    found["grey patches"] = _crossed(effects, heat, scorer) | largest
    return found


def _crossed(maps: Array, heat: Array, scorer: Scorer) -> dict[str, Any]:
    row: dict[str, Any] = {name: scorer.ratio(scorer.masses(maps, name), name) for name in TARGETS}
    return row | {"correlation": float(np.mean([rank_correlation(a, b) for a, b in zip(maps, heat, strict=True)]))}
