"""Shared fixtures: small clips, rigs and randomly initialised models. Nothing here trains, downloads or needs a GPU."""

from dataclasses import replace

import numpy as np


def make_rig(cameras=3, width_px=64, height_px=32):
    """Pinhole cameras that look around the car, the first one ahead."""
    from worldmodel.geometry import Camera, Rig, look_along

    intrinsics = np.array([[width_px / 2, 0, width_px / 2 - 0.5], [0, width_px / 2, height_px / 2 - 0.5], [0, 0, 1]])
    return Rig(
        cameras=tuple(
            Camera(
                name=f"camera_{i}",
                intrinsics=intrinsics,
                ego_from_camera=look_along(2 * np.pi * i / max(cameras, 6), np.array([1.5, 0.1 * i, 1.6])),
                width_px=width_px,
                height_px=height_px,
            )
            for i in range(cameras)
        )
    )


def make_clip(frames=16, cameras=3, seed=0, frequency_hz=8.0, instruction="keep going", motion=True, size=(64, 32)):
    """Random pictures and a plausible drive."""
    from worldmodel.clips import Clip, Instruction
    from worldmodel.geometry import Motion

    random = np.random.default_rng(seed)
    deltas = random.normal((1.0, 0.0, 0.0), (0.2, 0.03, 0.02), (frames - 1, 3))
    return Clip(
        id=f"clip-{seed}",
        video=random.integers(0, 256, (frames, cameras, 3, size[1], size[0]), dtype=np.uint8),
        rig=make_rig(cameras, *size),
        motion=Motion(deltas=deltas, period_s=1 / frequency_hz) if motion else None,
        frequency_hz=frequency_hz,
        instructions=(Instruction(text=instruction),) if instruction else (),
    )


def make_observation(frames=8, **changes):
    """The end of a random clip."""
    from worldmodel.plans import Observation

    clip = make_clip(frames, **changes)
    return Observation(
        video=clip.video,
        rig=clip.rig,
        motion=clip.motion,
        frequency_hz=clip.frequency_hz,
        instruction=clip.instruction_at(0.0),
    )


def make_network(seed=0, **changes):
    """The network of the `test` preset. What training starts at zero (gates, heads) gets random values instead."""
    import torch

    from worldmodel.network import WorldActionTransformer
    from worldmodel.training.presets import find_preset

    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        network = WorldActionTransformer(replace(find_preset("test").model.network, **changes))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3, generator=generator)
    return network.eval()


def make_model(seed=0, **changes):
    """A world model of the `test` preset with random weights and plausible motion statistics."""
    import torch

    from worldmodel.model import WorldModel
    from worldmodel.tokenizer import Tokenizer
    from worldmodel.training.presets import find_preset

    plan = tuple((4.0 * (i + 1), 0.0, 0.0) for i in range(8))
    config = replace(
        find_preset("test").model,
        step_mean=(1.0, 0.0, 0.0),
        step_std=(0.3, 0.05, 0.03),
        plan_mean=plan,
        plan_std=((3.0, 1.0, 0.2),) * 8,
        **changes,
    )
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        tokenizer = Tokenizer(config.tokenizer)
    return WorldModel(config, tokenizer, make_network(seed))


def make_planner_config(kind, tokenizer, **changes):
    """A tiny planner in the space of the tiny model's tokenizer: the preset `test`, with latents of 3 x 2 x 4 cells."""
    from policy.training.presets import find_preset

    sizes = {"channels": 4, "rows": 2, "columns": 4, "plan_std": ((2.0, 0.5, 0.1),) * 8, "mix": "rich"}
    sees = tokenizer.hash if kind != "ego-only" else ""
    return replace(find_preset("test").planner(kind), tokenizer=sees, **{**sizes, **changes})
