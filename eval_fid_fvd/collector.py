"""Takes decoded clips one by one, keeps what the scores need of them, and then gives the scores."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from eval_fid_fvd.cards import MetricCard, Score
from eval_fid_fvd.companions import Companion, Consistency, Drift, Windows
from eval_fid_fvd.conversion import ConvertedClips, conversion_of
from eval_fid_fvd.distances import Draws, Sides, distance_score
from eval_fid_fvd.evidence import Evidence, FeatureSet
from eval_fid_fvd.extraction import ClipFeatures
from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from eval_fid_fvd.metrics import METRICS, Metric, uses
from eval_fid_fvd.options import ScoreOptions
from eval_fid_fvd.pairs import FORMULAS, PairCollector, PairFormula, curve_of, paired_score
from eval_fid_fvd.results import Curve, Scores, Unreadable
from worldmodel.errors import BadRequest, BadVideo

Array = np.ndarray


class Collector:
    """Evidence of two sides, clip by clip.

    Args:
        sides: The generated and the real side, as they are read.
        metrics: Those asked for.
        networks: What there is; `needed` is what the metrics use.
    """

    def __init__(
        self,
        sides: Sequence[ConvertedClips],
        metrics: Sequence[Metric],
        networks: FeatureNetworks,
        options: ScoreOptions,
    ) -> None:
        self._sides, self._metrics, self._networks, self._options = sides, metrics, networks, options
        self.evidence, self.unreadable = Evidence(), list[Unreadable]()
        names = [metric.name for metric in metrics]
        self.needed = FeatureNetworks(
            pictures=networks.pictures if uses(names, "pictures") else None,
            clips=networks.clips if uses(names, "clips") else None,
        )
        self._formulas = {name: _formula(name, networks) for name in names if METRICS[name].of == "pairs"}
        self._pairs = PairCollector(self._formulas, self.evidence)
        self._companions: list[Companion] = []
        self._windows: Windows | None = None
        self._shape: tuple[int, ...] | None = None
        self._seen: dict[str, bytes] = {}
        self._skipped = options.condition_frames if options.clips_with_condition else 0

    def take(self, numbered: tuple[int | None, ClipFeatures | Unreadable]) -> None:
        """Keep what is needed of one clip (of both sides, or of the side that is named)."""
        only, clip = numbered
        if isinstance(clip, Unreadable):
            self.unreadable.append(clip)
            return
        chosen = (0, 1) if only is None else (only,)
        for side, video in zip(chosen, clip.videos, strict=True):
            self._check_shape(clip.name, side, video)
        a, b = self.evidence.clips
        self.evidence.clips = a + (0 in chosen), b + (1 in chosen)
        if 1 in chosen:
            self._seen[clip.name] = hashlib.sha256(clip.videos[-1].tobytes()).digest()
        for side, rows in zip(chosen, clip.pictures, strict=False):
            self._set_of("pictures")[side].add(self._grouped(rows, self._skipped), clip.name)
        for side, rows in zip(chosen, clip.clips, strict=False):
            self._set_of("clips")[side].add(self._grouped(rows), clip.name)
        if only is None:
            self._take_pair(*(video[self._skipped :] for video in clip.videos))

    def _take_pair(self, made: Array, real: Array) -> None:
        if self.evidence.clips[0] == 1:
            self._companions = list(self._asked_companions())
            self._windows = self._asked_windows(len(real))
        self._pairs.add(made, real)
        for companion in self._companions:
            companion.add(made, real)
        if self._windows is not None:
            self._windows.add(made, real)

    def _asked_companions(self) -> Iterator[Companion]:
        if self._options.drift:
            yield Drift(self._options)
        if self._options.consistency:
            rigs = [side.rig for side in self._sides[::-1] if side.rig is not None]
            yield Consistency(rigs[0] if rigs else None, self._options)

    def _asked_windows(self, frames: int) -> Windows | None:
        if self._options.window_s is None:
            return None
        rate = self._sides[1].frequency_hz
        return Windows(self._options.window_s, frames, rate, self.needed, self._formulas, self._options)

    def _check_enough(self) -> None:
        if not all(self.evidence.clips):
            raise BadVideo(
                f"none of {len(self.unreadable)} clip{' pairs' if self._options.paired else 's of a side'} can be read; at "
                f"least one is needed. First: {self.unreadable[0].message}"
            )

    def scores(self) -> Scores:
        """Everything, once all clips are taken.

        Raises:
            BadVideo: if a side has no clip.
        """
        self._check_enough()
        card, pairs = self._card(), self.evidence.pairs
        draws = Draws(generator=np.random.default_rng(self._options.seed), resamples=self._options.resamples)
        found = [score for metric in self._metrics for score in self._scores(metric, card, draws)]
        found += [score for companion in self._companions for score in companion.scores(card)]
        names = [metric.name for metric in self._metrics]
        return Scores(
            scores=tuple(found),
            curves={name.upper(): self._curve(name) for name in names if name in pairs},
            trends=self._windows.trends(names, card) if self._windows else (),
            clips=self.evidence.clips[0],
            unreadable=tuple(self.unreadable),
        )

    def _curve(self, name: str) -> Curve:
        draws = Draws(generator=np.random.default_rng(self._options.seed), resamples=self._options.resamples)
        pairs, apart = self.evidence.pairs[name], self.evidence.apart[name]
        return curve_of(pairs, apart, self._options.condition_frames, draws)

    def _card(self) -> MetricCard:
        """All lines that do not depend on the metric."""
        assert self._shape is not None
        frames, cameras, _, height, width = self._shape
        a, b = self._sides
        return MetricCard(
            metric="none",
            frames=frames - self._skipped,
            frequency_hz=b.frequency_hz,
            condition_frames=self._options.condition_frames,
            cameras=f"{cameras}, pooled" if cameras > 1 else "1",
            size=f"{width}x{height}",
            conversion=conversion_of(a, b),
            codec=a.codec if a.codec == b.codec else f"{a.codec} against {b.codec}",
            pairing="by name" if self._options.paired else "none, two sets",
            reference=f"{len(self._seen)} clips, pixels {self._hash_of_reference()}",
            preset=self._options.preset,
            rule="none",
            device=self._options.device,
            interval_rule="none",
            floor_rule="none",
        )

    def _scores(self, metric: Metric, card: MetricCard, draws: Draws) -> Iterator[Score]:
        """The score of all cameras, and of each where asked for."""
        yield self._score(metric, None, card, draws)
        assert self._shape is not None
        if self._options.per_camera and self._shape[1] > 1:
            for number, name in enumerate(self._sides[1].cameras):
                one = replace(card, cameras=f"1 of {self._shape[1]}", part=f"camera {name}")
                yield self._score(metric, number, one, draws)

    def _score(self, metric: Metric, camera: int | None, card: MetricCard, draws: Draws) -> Score:
        if metric.of == "pairs":
            part = slice(None) if camera is None else slice(camera, camera + 1)
            values, apart = (
                [frames[:, part] for frames in kept.get(metric.name, [])]
                for kept in (self.evidence.pairs, self.evidence.apart)
            )
            network = self._networks.pairs if metric.name == "lpips" else None
            return paired_score(metric, values, apart, card, draws, network)
        features = _network_of(metric, self._networks)
        assert features is not None  # _check_networks
        a, b = self.evidence.features[metric.of]
        if metric.of == "clips" and self._skipped:
            card = replace(card, frames=card.frames + self._skipped, condition_rule="scored with the others")
        sides = Sides(network=features, a=a, b=b, group=camera, paired=self._options.paired)
        return distance_score(metric, sides, card, draws)

    def _set_of(self, kind: str) -> tuple[FeatureSet, FeatureSet]:
        seed = self._options.seed
        return self.evidence.features.setdefault(kind, (FeatureSet(seed), FeatureSet(seed)))

    def _grouped(self, rows: Array, skipped: int = 0) -> Array:
        """[time x camera, width] or [camera, width] to [camera, samples, width]; one group unless cameras are given apart."""
        assert self._shape is not None
        by_camera = rows.reshape(-1, self._shape[1], rows.shape[-1])[skipped:].swapaxes(0, 1)
        return by_camera if self._options.per_camera else by_camera.reshape(1, -1, rows.shape[-1])

    def _check_shape(self, name: str, side: int, video: Array) -> None:
        if video.dtype != np.uint8 or video.ndim != 5 or video.shape[2] != 3:
            raise BadRequest(
                f"clip '{name}': {video.dtype} {video.shape}; need uint8 [time, camera, 3, h, w]. Convert."
            )
        expected = self._shape or video.shape
        if video.shape != expected:
            raise BadRequest(
                f"the {('generated', 'real')[side]} clip '{name}' is [time, camera, 3, h, w] = {list(video.shape)}, but "
                f"others are {list(expected)}; all must be equal. Resize both sides with --size, or set --frames for "
                "unlike lengths."
            )
        self._shape = expected

    def _hash_of_reference(self) -> str:
        whole = hashlib.sha256()
        for name in sorted(self._seen):
            whole.update(self._seen[name])
        return whole.hexdigest()[:12]


def _network_of(metric: Metric, networks: FeatureNetworks) -> FeatureNetwork | None:
    return networks.pictures if metric.of == "pictures" else networks.clips


def _formula(name: str, networks: FeatureNetworks) -> PairFormula:
    return networks.pairs.compute if name == "lpips" and networks.pairs is not None else FORMULAS[name]
