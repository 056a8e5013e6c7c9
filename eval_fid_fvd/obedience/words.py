"""Does it obey words? Left, right and straight on at the same junctions, and the weather."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eval_fid_fvd.obedience.paths import ROADS, drives
from eval_fid_fvd.obedience.read_back import WAYS, seen_by, way_of
from eval_fid_fvd.obedience.suite import INDEPENDENT, SECONDS, Suite, driven
from eval_fid_fvd.obedience.table import Row, mean_interval
from worldmodel.geometry import Array
from worldmodel.plans import Observation
from worldmodel.town.scene import WEATHERS, Scene
from worldmodel.town.words.descriptions import WEATHER, time_of_day
from worldmodel.town.words.nouns import a
from worldmodel.town.words.phrases import texts
from worldmodel.town.words.surroundings import Surroundings

TEXT_S = 5.0
JUNCTIONS = ("intersection", "traffic_light")
BRANCH_M = (4.0, 16.0)
BEHIND_M = 12.0  # behind the branch a turn is under way


def text_rows(suite: Suite) -> list[Row]:
    """Left, right and straight on at the same junctions with the same seed, and no steps given."""
    wanted = max(2, suite.clips // 4)
    moments = suite.moments("junction", JUNCTIONS, wanted, TEXT_S, lambda scene, now: _at_junction(suite, scene, now))
    observations = [replace(moment.observation, instruction="") for moment in moments]
    read_true = [way_of(m) for m in seen_by(suite.readers, observations, [m.future.video for m in moments])]
    true = [way_of(driven(moment, TEXT_S).motion()) for moment in moments]
    reader = float(np.mean([said == was for said, was in zip(read_true, true, strict=True)]))
    silent = suite.imagine(observations, TEXT_S, one_seed=True)
    silent_ways = [way_of(motion) for motion in seen_by(suite.readers, observations, [r.video for r in silent])]
    empty = {f"empty text goes {way}": silent_ways.count(way) / len(silent_ways) for way in WAYS}
    trained = _asked_ways(suite, observations, "train")
    unseen = _asked_ways(suite, observations, "test")
    beside = {"chance": 1 / 3, "own steps": float(trained[1].mean()), **empty}
    return [
        Row(
            quantity=f"text, {INDEPENDENT}: right way, trained words",
            n=len(moments),
            value=float(trained[0].mean()),
            unit="%",
            interval=mean_interval(trained[0].mean(axis=1), suite.seed),
            threshold="90 %",
            passed=bool(trained[0].mean() >= 0.9),
            beside=beside,
            reader=reader,
        ),
        Row(
            quantity=f"text, {INDEPENDENT}: right way, unseen words",
            n=len(moments),
            value=float(unseen[0].mean()),
            unit="%",
            interval=mean_interval(unseen[0].mean(axis=1), suite.seed),
            threshold="within 5 points of trained words",
            passed=bool(unseen[0].mean() >= trained[0].mean() - 0.05),
            beside={"chance": 1 / 3, "own steps": float(unseen[1].mean())},
            reader=reader,
        ),
    ]


def _asked_ways(suite: Suite, observations: Sequence[Observation], split: str) -> tuple[Array, Array]:
    """Whether each junction [n] was passed each way [3] as told, by the independent reader and by the imagined steps."""
    random = np.random.default_rng(suite.seed)
    told = []
    for observation in observations:
        for way in WAYS:
            forms = texts(way, split)
            told.append(replace(observation, instruction=forms[int(random.integers(len(forms)))]))
    rollouts = suite.imagine(told, TEXT_S, one_seed=True)
    wanted = [way for _ in observations for way in WAYS]
    seen = [way_of(motion) for motion in seen_by(suite.readers, told, [rollout.video for rollout in rollouts])]
    own = [way_of(rollout.trajectory.motion()) for rollout in rollouts]
    return _hits(seen, wanted), _hits(own, wanted)


def _hits(found: Sequence[str], wanted: Sequence[str]) -> Array:
    return np.array([went == told for went, told in zip(found, wanted, strict=True)], float).reshape(-1, len(WAYS))


def _at_junction(suite: Suite, scene: Scene, now: int) -> bool:
    """Whether all three ways lie close ahead and the ego drives on through."""
    around, here = Surroundings(scene), float(scene.route_s[now])
    ahead = [one for one in around.branches if BRANCH_M[0] < one.s_m - here < BRANCH_M[1]]
    end = scene.route_s[now + round(TEXT_S * suite.hertz)]
    return any(set(WAYS) <= one.ways and end > one.s_m + BEHIND_M for one in ahead)


def weather_rows(suite: Suite) -> list[Row]:
    """Another weather is named than the one seen; and the one seen."""
    moments = suite.moments("path", ROADS, suite.clips, SECONDS, lambda scene, now: drives(suite, scene, now))
    own = [moment.scene.light.weather for moment in moments]
    others = [[w for w in WEATHERS if w != mine][i % (len(WEATHERS) - 1)] for i, mine in enumerate(own)]
    on_true = [suite.readers.read_weather(moment.future.video) for moment in moments]
    reader = float(np.mean([said == was for said, was in zip(on_true, own, strict=True)]))
    rows = []
    for name, wanted in (("named against what was seen", others), ("named as seen", own)):
        told = [
            replace(moment.observation, instruction=weather_text(moment.scene, weather))
            for moment, weather in zip(moments, wanted, strict=True)
        ]
        last = round(suite.hertz)
        seen = [suite.readers.read_weather(rollout.video[-last:]) for rollout in suite.imagine(told, SECONDS)]
        hits = np.array([said == was for said, was in zip(seen, wanted, strict=True)], float)
        shuffled = float(np.mean([said == was for said in seen for was in wanted]))
        rows.append(
            Row(
                quantity=f"weather {name}: read in the last second",
                n=len(moments),
                value=float(hits.mean()),
                unit="%",
                interval=mean_interval(hits, suite.seed),
                threshold="80 %",
                passed=bool(hits.mean() >= 0.8),
                beside={
                    "others' words": shuffled,
                    "as before": float(np.mean([said == was for said, was in zip(seen, own, strict=True)])),
                },
                reader=reader,
            )
        )
    return rows


def weather_text(scene: Scene, weather: str) -> str:
    """A weather as the town's descriptions name it."""
    return f"It is {a(f'{WEATHER[weather]} {time_of_day(scene.light)}')}, and we are on a road."
