"""The stages of planners that `detour bench planners` times, each through the functions that people call.

Stages of a planner overlap: 'newest frame to plan' is all of it, the others are its parts. A drive meets the same instruction again and
again and reads it once, so it is warm here; what a new one costs is a row of its own.
"""

from collections.abc import Callable
from io import BytesIO
from itertools import count
from typing import TYPE_CHECKING

import torch

from policy.answers import Ask
from policy.imagining import ImaginingPlanner
from policy.inverse_kinematics import InverseKinematics, PooledInverseKinematics
from policy.learned import LearnedPlanner
from policy.planner import JointPlanner, Planner
from policy.seeing import text_means
from studio.bench_planners import Stages
from worldmodel.geometry import Array
from worldmodel.pictures import resize_video
from worldmodel.plans import PLAN_TIMES_S, Observation
from worldmodel.text_encoders import make_text_encoder

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

READY_NEED, WHOLE_NEED = "150 ms", "600 ms"  # of a plan from ready memory, and from the newest frame on; on two cores
READY, WHOLE = "plan from what was looked at", "newest frame to plan"
DDPM_STEPS = 100


def picture_stages(world: "WorldModel", seen: Observation) -> Stages:
    """What all planners that look have in common."""
    newest = seen.video[-1:]
    files = [_png(camera) for camera in newest[0]]
    encoder, numbers = make_text_encoder(world.config.text_encoder), count()
    return {
        "read a multi-view frame from PNG": (lambda: [_read_png(file) for file in files], ""),
        "encode a multi-view frame": (lambda: world.tokenizer.encode_video(newest), ""),
        "read a new instruction": (lambda: text_means(encoder, [f"turn left at crossing {next(numbers)}"]), ""),
    }


def stages_of(planner: Planner, world: "WorldModel", seen: Observation) -> tuple[str, Stages]:
    """A planner's name and stages."""
    whole = {WHOLE: (lambda: planner.plan(seen, seed=0), WHOLE_NEED)}
    if isinstance(planner, LearnedPlanner):
        return planner.name, _learned(planner, seen) | whole
    if isinstance(planner, JointPlanner):
        return planner.name, _joint(world, seen, planner.samples) | whole
    if isinstance(planner, ImaginingPlanner):
        return planner.name, _imagining(world, seen) | {WHOLE: (whole[WHOLE][0], "")}
    return planner.name, dict(whole)


def _learned(planner: LearnedPlanner, seen: Observation) -> Stages:
    looked, ask, network = planner.eyes.look(seen), planner.ask, planner.network
    stages: Stages = {}
    if planner.needs_pixels:
        stages["encode the pictures it looks at"] = (_encoding(planner, seen), "")
    stages["look (encode, ego status, instruction)"] = (lambda: planner.eyes.look(seen), "")
    if isinstance(network, InverseKinematics | PooledInverseKinematics):
        stages |= _inverse_kinematics(network, planner, seen)
    stages[READY] = (_without_gradients(lambda: network.answer(looked, ask)), READY_NEED)
    return stages


def _inverse_kinematics(
    network: InverseKinematics | PooledInverseKinematics, planner: LearnedPlanner, seen: Observation
) -> Stages:
    looked, ask = planner.eyes.look(seen), planner.ask
    with torch.no_grad():
        states = network.predictor(looked)

    def plans(asked: Ask) -> Callable[[], object]:
        return _without_gradients(lambda: network.plans(looked.now, states, looked.rays, asked))

    stages: Stages = {"predict states": (_without_gradients(lambda: network.predictor(looked)), "")}
    if isinstance(network, PooledInverseKinematics):
        return stages | {"states to plan": (plans(ask), "")}
    slow = Ask(samples=ask.samples, steps=DDPM_STEPS, sampler="ddpm")
    return stages | {
        f"states to {ask.samples} plans, DDIM, {ask.steps} steps": (plans(ask), ""),
        f"states to {ask.samples} plans, DDPM, {DDPM_STEPS} steps": (plans(slow), ""),
    }


def _encoding(planner: LearnedPlanner, seen: Observation) -> Callable[[], object]:
    tokenizer, now = planner.eyes.tokenizer, len(seen.video) - 1
    assert tokenizer is not None
    video = resize_video(seen.video[[now - age for age in planner.config.history_frames]], *planner.eyes.picture_size)
    return lambda: tokenizer.encode_video(video)


def _joint(world: "WorldModel", seen: Observation, samples: int) -> Stages:
    past = world.remember([seen])
    return {
        "remember what was seen": (lambda: world.remember([seen]), ""),
        "plan from ready memory, 1 sample": (lambda: world.plan(seen, past=past), READY_NEED),
        f"plan from ready memory, {samples} samples": (lambda: world.plan(seen, samples=samples, past=past), ""),
        "newest frame to plan, 1 sample": (lambda: world.plan(seen), WHOLE_NEED),
    }


def _imagining(world: "WorldModel", seen: Observation) -> Stages:
    seconds = float(PLAN_TIMES_S[-1])
    return {f"imagine {seconds:g} s": (lambda: world.imagine(seen, seconds=seconds), "")}


def _without_gradients(work: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return work()

    return run


def _png(picture: Array) -> bytes:
    from PIL import Image

    into = BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(into, "PNG")
    return into.getvalue()


def _read_png(content: bytes) -> object:
    from PIL import Image

    with Image.open(BytesIO(content)) as picture:
        return picture.convert("RGB").tobytes()
