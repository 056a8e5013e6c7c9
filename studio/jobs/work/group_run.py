"""One work, done: its rollouts are imagined together and streamed to files, its planners asked, its paths scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.guides import texts_by_time
from studio.jobs.units import Unit, UnitRequest
from studio.jobs.work.outputs import POSTER, Result, camera_files
from studio.jobs.work.pasts import KeptPast
from studio.jobs.work.poster import Poster
from studio.jobs.work.questions import Group, Question
from studio.jobs.work.sinks import LatentsSink, Sink, camera_sink, mosaic_sink
from studio.jobs.work.streaming import Streamed, StreamedRollout, stream
from studio.jobs.work.timer import Timer
from studio.jobs.work.unit_plans import KeptPlans, UnitPlans, ask_planners
from studio.jobs.work.unit_scores import PICTURE_METRICS, PictureScores, missing_scores, path_scores
from worldmodel.model import check_horizon

if TYPE_CHECKING:
    from policy.planner import Planner
    from studio.jobs.folder.storage import Storage
    from worldmodel.model import WorldModel

OnChunk = Callable[[int, int], None]
MakePlanner = Callable[[str, int], "Planner"]


@dataclass(eq=False, kw_only=True)
class _Sample:
    """One unit that is wanted, while it is made."""

    question: Question
    folder: Path
    poster: Poster
    pictures: PictureScores | None = None
    sinks: list[Sink] = field(default_factory=list)
    video: dict[str, dict[str, object]] = field(default_factory=dict)
    plans: UnitPlans = field(default_factory=UnitPlans)

    @property
    def unit(self) -> Unit:
        return self.question.unit

    @property
    def request(self) -> UnitRequest:
        return self.question.unit.request


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupRun:
    """What a group of units needs to be done.

    Attributes:
        model: Loaded.
        group: The units, read.
        wanted: Keys of those whose output is wanted; the others only keep their place in the batch.
        batch: How many rollouts go through the network together.
        scratch: An empty local folder; outputs are written to SCRATCH/KEY.
        partial: Where finished segments of long rollouts are kept.
        past: Reads what was seen into a memory.
        plans: What planners answered before.
        planner: Makes a planner by its name and number of samples.
        timer: Gets what everything takes.
        on_chunk: Called with the chunks done and their number.
    """

    model: "WorldModel"
    group: Group
    wanted: frozenset[str]
    batch: int
    scratch: Path
    partial: "Storage | None"
    past: KeptPast
    plans: KeptPlans
    planner: MakePlanner
    timer: Timer
    on_chunk: OnChunk

    def results(self) -> tuple[list[tuple[Result, Path]], int]:
        """Each wanted unit with the folder of its outputs (all but its record), and how many chunks were computed.

        Raises:
            DetourError: if something about the units cannot be used or done.
        """
        samples = {q.unit.key: self._sample(q) for q in self.group.questions if q.unit.key in self.wanted}
        with self.timer.measure("plan"):
            for sample in samples.values():
                sample.plans = self._plans(sample.request)
        streamed = self._imagined(samples) if self._request.seconds else None
        rollouts = () if streamed is None else streamed.rollouts
        made = dict(zip((q.unit.key for q in self.group.questions), rollouts, strict=False))
        found = [(self._result(sample, made.get(key)), sample.folder) for key, sample in samples.items()]
        return found, 0 if streamed is None else streamed.chunks

    @property
    def _request(self) -> UnitRequest:
        return self.group.questions[0].unit.request

    @property
    def _frames(self) -> int:
        seconds = self._request.seconds
        return max(1, round(seconds * self.model.config.frequency_hz)) if seconds else 0

    def _sample(self, question: Question) -> _Sample:
        """The unit's folder, and where its chunks will go."""
        request, config = question.unit.request, self.model.config
        folder = self.scratch / question.unit.key
        folder.mkdir()
        rig = question.observation.rig
        if request.seconds:
            rig = rig.scaled(config.width_px, config.height_px)
        poster = Poster(rig=rig, frames=self._frames, frequency_hz=config.frequency_hz)
        sample = _Sample(question=question, folder=folder, poster=poster, sinks=[poster])
        if "mosaic" in request.outputs:
            sample.sinks.append(mosaic_sink(folder / "mosaic.mp4", rig, config.frequency_hz, rig.width_px))
            sample.video["mosaic.mp4"] = {"cameras": list(rig.names)}
        if "cameras" in request.outputs:
            for number, (name, file) in enumerate(zip(rig.names, camera_files(rig), strict=True)):
                sample.sinks.append(camera_sink(folder / file, number, config.frequency_hz))
                sample.video[file] = {"cameras": [name]}
        if "latents" in request.outputs:
            facts = {"model": self.model.hash}
            sample.sinks.append(LatentsSink(out=folder / "latents.safetensors", facts=facts))
        metrics = tuple(metric for metric in PICTURE_METRICS if metric in request.metrics)
        if metrics and request.edit is None:
            sample.pictures = PictureScores(recording=self.group.recording, metrics=metrics)
            sample.sinks.append(sample.pictures)
        return sample

    def _plans(self, request: UnitRequest) -> UnitPlans:
        planners = {name: self.planner(name, request.samples) for name in request.planners}
        return ask_planners(request, planners, self.group.recording.moment, self.group.edited, self.plans)

    def _imagined(self, samples: Mapping[str, _Sample]) -> Streamed:
        """All rollouts of the group, streamed to the sinks of the wanted ones."""
        check_horizon(self._request.seconds)
        sampling, questions = self._request.sampling, self.group.filled(self.batch)
        paths = [question.actions for question in questions if question.actions is not None]
        with self.timer.measure("model"):
            past = self.past.of(self.model, questions)
        streamed = stream(
            self.model,
            past,
            frames=self._frames,
            seeds=[question.unit.request.seed for question in questions],
            sinks=self._sinks(samples),
            scratch=self.scratch,
            actions=paths or None,
            guides=[question.guide for question in questions],
            sampling=sampling,
            partial=self.partial,
            on_chunk=self.on_chunk,
        )
        scored = sum(sample.pictures.seconds for sample in samples.values() if sample.pictures is not None)
        self.timer.add("model", streamed.timing["generate_s"])
        self.timer.add("score", scored)
        self.timer.add("write", sum(streamed.timing[part] for part in ("write_s", "keep_s", "join_s")) - scored)
        return streamed

    def _sinks(self, samples: Mapping[str, _Sample]) -> list[Sequence[Sink]]:
        """Of each place in the batch; what only fills it goes nowhere."""
        own = [samples[q.unit.key].sinks if q.unit.key in samples else [] for q in self.group.questions]
        return [*own, *[[] for _ in range(self.batch - len(own))]]

    def _result(self, sample: _Sample, rollout: StreamedRollout | None) -> Result:
        """Scores, poster and tables; all that is left to do once the chunks are made."""
        recording, config = self.group.recording, self.model.config
        with self.timer.measure("score"):
            scores, warnings, compared = self._scores(sample, rollout)
        moment, edited = self.group.moment, self.group.edited
        notes = moment.notes if edited is None else (*moment.notes, *edited.notes)
        result = Result(
            unit=sample.unit,
            rig=sample.poster.rig,
            frequency_hz=config.frequency_hz if rollout else moment.clip.frequency_hz,
            driven=recording.driven,
            plans=sample.plans,
            edit=None if edited is None else edited.facts,
            scores=scores,
            compared=compared,
            warnings=tuple(dict.fromkeys((*notes, *sample.plans.warnings, *warnings))),
        )
        if rollout is not None:
            result = replace(
                result,
                frames=rollout.frames,
                trajectory=rollout.trajectory,
                texts=texts_by_time(rollout),
                video=sample.video,
                provenance=rollout.provenance | {"memory_kept": rollout.memory_stats},
                telemetry=rollout.telemetry,
                warnings=tuple(dict.fromkeys((*result.warnings, *rollout.warnings))),
            )
        with self.timer.measure("write"):
            self._draw(sample)
            result.write_tables(sample.folder)
        return result

    def _scores(self, sample: _Sample, rollout: StreamedRollout | None) -> tuple[dict[str, float], list[str], int]:
        """Numbers by name, what is to know of them, and how many pictures were compared."""
        request, recording = sample.request, self.group.recording
        edited = self.group.edited is not None
        scores = {} if sample.pictures is None else sample.pictures.values()
        if "ade" in request.metrics:
            imagined = None if rollout is None or edited else rollout.trajectory
            scores |= path_scores(imagined, recording.driven, sample.plans.factual)
        scores |= sample.plans.response_scores()
        covered_s = recording.followed / recording.moment.clip.frequency_hz
        said = missing_scores(request.metrics, scores, edited=edited, covered_s=covered_s, seconds=request.seconds)
        return scores, said, 0 if sample.pictures is None else sample.pictures.pictures()

    def _draw(self, sample: _Sample) -> None:
        edited = self.group.edited
        seen = self.group.recording.moment.observation()
        drawn = not sample.request.seconds
        sample.poster.see(seen, plans=sample.plans.factual if drawn else {})
        if edited is not None:
            sample.poster.see(edited.moment.observation(), edited=True, plans=sample.plans.edited if drawn else {})
        sample.poster.write(sample.folder / POSTER)
