"""Scores of a batch's units, all together and in groups that share a value, from one reading of every clip."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from studio.jobs.plan.comparisons import Group, LeftOut, all_of, frames_compared, groups_of, long_enough
from studio.jobs.results.score_sides import Compared, Imagined, Recorded
from studio.scoring import ScoreRequest, networks_for
from worldmodel.errors import BadInput

if TYPE_CHECKING:
    from eval_fid_fvd.cards import Score
    from eval_fid_fvd.collector import Collector
    from eval_fid_fvd.conversion import ConvertedClips
    from eval_fid_fvd.extraction import ClipFeatures
    from eval_fid_fvd.features import FeatureNetworks
    from eval_fid_fvd.options import ScoreOptions
    from eval_fid_fvd.results import Scores, Unreadable

OnClip = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupScores:
    """Scores of the units that share a value.

    Attributes:
        by, value: What they share, such as 'text' and 'turn left'; '' for all units.
        units: How many were compared.
        moments: Of how many different moments they are; less than `units` where a sweep goes on from one moment often.
        frames: Compared of each.
        scores: As `detour score` gives them; None where no metric could be had.
        lacks: Why a metric is missing, by name, such as too few clips.
    """

    by: str
    value: str
    units: int
    moments: int
    frames: int
    scores: "Scores | None"
    lacks: Mapping[str, str]

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.by}: {self.value}" if self.by else "all units"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        scores = None if self.scores is None else self.scores.to_json()
        names = ("by", "value", "units", "moments", "frames")
        return {name: getattr(self, name) for name in names} | {"scores": scores, "lacks": dict(self.lacks)}

    def lines(self) -> list[str]:
        """For people."""
        table = [] if self.scores is None else [f"  {line}" for line in self.scores.table().splitlines()]
        head = f"{self.title}: {self.units} units of {self.moments} moments, {self.frames} frames each"
        return [head, *table, *(f"  no {name}: {why}" for name, why in self.lacks.items())]


@dataclass(eq=False, kw_only=True)
class _Gathering:
    """A group while clips are read: a collector for each metric, so that one that lacks clips takes nothing from others."""

    group: Group
    collectors: dict[str, "Collector"]
    lacks: dict[str, str]
    keys: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = frozenset(pair.unit.key for pair in self.group.pairs)

    def take(self, clip: "ClipFeatures | Unreadable", name: str) -> None:
        """One clip, if it belongs here."""
        if name in self.keys:
            for collector in self.collectors.values():
                collector.take((None, clip))

    def scores(self, notes: Sequence[str]) -> GroupScores:
        """Once all clips are taken."""
        found: list[Scores] = []
        for name, collector in self.collectors.items():
            try:
                found.append(collector.scores())
            except BadInput as error:
                self.lacks[name] = str(error)
        pairs = self.group.pairs
        moments = len({pair.moment for pair in pairs})
        if moments < len(pairs):
            said = f"{len(pairs)} units of {moments} moments: units of one moment are not independent"
            notes = [*notes, f"{said}, so intervals are too narrow and there is no real-against-real number"]
        return GroupScores(
            by=self.group.by,
            value=self.group.value,
            units=found[0].clips if found else 0,
            moments=moments,
            frames=self.group.frames,
            scores=_joined(found, notes, repeats=moments < len(pairs)) if found else None,
            lacks=self.lacks,
        )


def scored(
    pairs: Sequence[Compared],
    sweeps: Sequence[str],
    request: ScoreRequest,
    *,
    seconds: float | None = None,
    on_clip: OnClip = lambda *_: None,
) -> tuple[tuple[GroupScores, ...], tuple[LeftOut, ...]]:
    """Scores of all units and by each value of `sweeps`; and units whose recording ends too early or that cannot be read.

    Args:
        pairs: Units and what followed.
        sweeps: Of `studio.jobs.unit_words.BY`.
        request: Metrics, networks and device.
        seconds: Of each future that are compared; None for the shortest horizon.
        on_clip: Called with the clips done and their number.
    Raises:
        BadDataset: if no unit is left, or units have unlike cameras or rates.
    """
    frames = frames_compared(pairs, seconds)
    whole, left_out = long_enough(pairs, frames)
    groups = [Group(by="", value="", pairs=whole, frames=frames), *groups_of(whole, sweeps, frames, seconds)]
    networks = networks_for(request.metrics, request)
    passes = {
        length: [group for group in groups if group.frames == length]
        for length in dict.fromkeys(group.frames for group in groups)
    }
    read = _Reading(
        request=request, networks=networks, on_clip=on_clip, count=sum(len(all_of(some)) for some in passes.values())
    )
    found: dict[int, GroupScores] = {}
    for some in passes.values():
        for group, scores in zip(some, read.scores(some), strict=True):
            found[id(group)] = scores
    return tuple(found[id(group)] for group in groups), (*left_out, *read.unreadable.values())


@dataclass(eq=False, kw_only=True)
class _Reading:
    """Reads clips once for all groups with the same number of frames."""

    request: ScoreRequest
    networks: "FeatureNetworks"
    on_clip: OnClip
    count: int
    done: int = 0
    unreadable: dict[str, LeftOut] = field(default_factory=dict)

    def scores(self, groups: Sequence[Group]) -> list[GroupScores]:
        """Of groups with the same number of frames."""
        from eval_fid_fvd.conversion import ConvertedClips
        from eval_fid_fvd.extraction import FrameWindow, extracted
        from eval_fid_fvd.results import Unreadable

        pairs, frames = all_of(groups), groups[0].frames
        if not pairs:
            return [_nothing(group) for group in groups]
        a, b = Imagined(pairs), Recorded(pairs)
        options = self._options(a, frames)
        sides = tuple(ConvertedClips(side, options.steps, None) for side in (a, b))
        gatherings = [self._gathering(group, sides, options) for group in groups]
        needed = self._needed(gatherings)
        numbers = {pair.unit.key: pair.unit.unit.number for pair in pairs}
        for clip in extracted(sides, needed, window=FrameWindow(frames=frames)):
            name = clip.clip if isinstance(clip, Unreadable) else clip.name
            if isinstance(clip, Unreadable):
                self.unreadable[name] = LeftOut(number=numbers[name], key=name, why=clip.message)
            for gathering in gatherings:
                gathering.take(clip, name)
            self.done += 1
            self.on_clip(self.done, self.count)
        notes = [f"the first {frames / a.frequency_hz:g} s of each future", *([b.thinned] if b.thinned else [])]
        return [gathering.scores(notes) for gathering in gatherings]

    def _options(self, a: Imagined, frames: int) -> "ScoreOptions":
        """As `detour score` fits them to a run: what followed is brought to the size of what was imagined."""
        from eval_fid_fvd.options import ScoreOptions
        from eval_fid_fvd.picture_steps import Resize

        assert a.rig is not None
        size = Resize(width_px=a.rig.width_px, height_px=a.rig.height_px)
        return ScoreOptions(frames=frames, steps=(size,), device=self.request.device, seed=self.request.seed)

    def _gathering(self, group: Group, sides: "tuple[ConvertedClips, ...]", options: "ScoreOptions") -> _Gathering:
        from eval_fid_fvd.collector import Collector
        from eval_fid_fvd.metrics import metrics_of

        lacks, collectors = dict[str, str](), dict[str, Collector]()
        for metric in metrics_of(self.request.metrics):
            need = 1 if self.networks.clips is None or metric.of != "clips" else self.networks.clips.frames_needed
            if group.frames < need:
                lacks[metric.name] = f"{group.frames} frames are compared, but its network needs {need}"
            else:
                collectors[metric.name] = Collector(sides, (metric,), self.networks, options)
        return _Gathering(group=group, collectors=collectors, lacks=lacks)

    def _needed(self, gatherings: Sequence[_Gathering]) -> "FeatureNetworks":
        needed = [one.needed for gathering in gatherings for one in gathering.collectors.values()]
        return replace(
            self.networks,
            pictures=next((one.pictures for one in needed if one.pictures), None),
            clips=next((one.clips for one in needed if one.clips), None),
        )


def _nothing(group: Group) -> GroupScores:
    lacks = {"everything": "no recording is long enough"}
    return GroupScores(
        by=group.by, value=group.value, units=0, moments=0, frames=group.frames, scores=None, lacks=lacks
    )


def _joined(parts: "Sequence[Scores]", notes: Sequence[str], *, repeats: bool) -> "Scores":
    """Scores of single metrics as one, with notes on every card; real clips that repeat cannot be set against each other."""
    scores = [_noted(score, notes, repeats=repeats) for part in parts for score in part.scores]
    curves = {name: curve for part in parts for name, curve in part.curves.items()}
    if repeats:
        curves = {name: replace(curve, levels=()) for name, curve in curves.items()}
    return replace(parts[0], scores=tuple(scores), curves=curves)


def _noted(score: "Score", notes: Sequence[str], *, repeats: bool) -> "Score":
    card = replace(score.card, notes=(*score.card.notes, *notes))
    if not repeats:
        return replace(score, card=card)
    return replace(score, floor=None, card=replace(card, floor_rule="none, as real clips repeat"))
