"""The other end of the line for a Python class: runs in a process of its own, so that it may hang, crash or print as it likes.

    python -c "from policy.foreign.host import main; main()" path/to/file.py:Class

What the class prints goes to standard error.
"""

import base64
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from worldmodel.geometry import Camera, Motion, Rig
from worldmodel.plans import Observation, Plan


def main() -> None:
    """Answer requests until the input ends."""
    sys.dont_write_bytecode = True
    requests, answers = _own_pipes()
    hello = json.loads(requests.readline() or b"{}")
    try:
        policy = load(sys.argv[1])()
        _say(answers, {"type": "hello", "protocol": hello.get("protocol"), **_about(policy)})
    except BaseException as error:  # whatever the user's code raises, SystemExit too, is told
        traceback.print_exc()
        _say(answers, {"type": "hello", "protocol": hello.get("protocol"), "error": _told(error)})
        return
    for line in requests:
        request = json.loads(line)
        try:
            content = plain(policy.plan(observation_of(request), request["seed"]))
        except BaseException as error:  # as above: a report for this frame, and on to the next
            traceback.print_exc()
            content = {"error": _told(error), "kind": "raised"}
        _say(answers, {"type": "plan", "id": request["id"], **content})


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Our own copies of standard input and output; the class finds an empty input, and what it prints is an error text."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, answers


def load(spec: str) -> Any:
    """The class that 'path/to/file.py:Class' or 'package.module:Class' names."""
    place, _, name = spec.rpartition(":")
    if not place.endswith(".py"):
        sys.path.insert(0, os.getcwd())
        return getattr(importlib.import_module(place), name)
    path = Path(place).resolve()
    sys.path.insert(0, str(path.parent))
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ImportError(f"'{path}' cannot be loaded")
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return getattr(module, name)


def _about(policy: Any) -> dict[str, Any]:
    if not callable(getattr(policy, "plan", None)):
        raise TypeError(f"{type(policy).__name__} has no method plan(observation, seed)")
    declared = getattr(policy, "declares", {})
    name = getattr(policy, "name", type(policy).__name__)
    if isinstance(declared, Mapping):
        declared = {"name": str(name), **declared}
    return {"declares": declared}


def observation_of(request: Mapping[str, Any]) -> Observation:
    """Our own observation from a request."""
    cameras = tuple(
        Camera(
            name=one["name"],
            intrinsics=np.array(one["intrinsics"]),
            ego_from_camera=np.array(one["ego_from_camera"]),
            width_px=one["width_px"],
            height_px=one["height_px"],
        )
        for one in request["cameras"]
    )
    rig = Rig(cameras=cameras, nominal=any(one["nominal"] for one in request["cameras"]))
    steps, raw = request["steps"], request.get("raw")
    if raw is None:
        video = np.zeros((len(request["times_s"]), len(rig), 3, rig.height_px, rig.width_px), np.uint8)
    else:
        flat = np.frombuffer(base64.b64decode(raw["base64"]), np.uint8)
        video = np.ascontiguousarray(flat.reshape(raw["shape"]).transpose(0, 1, 4, 2, 3))
    return Observation(
        video=video,
        rig=rig,
        motion=None if steps is None else Motion(deltas=np.array(steps[1]).reshape(-1, 3), period_s=steps[0]),
        frequency_hz=request["frequency_hz"],
        instruction=request["instruction"],
    )


def plain(answer: Any) -> dict[str, Any]:
    """What a class returned, ready for JSON: a plan of ours, a mapping with `trajectory`, or an array."""
    if isinstance(answer, Plan):
        return {
            "native": True,
            "trajectory": answer.trajectory.poses.tolist(),
            "samples": None if answer.samples is None else np.asarray(answer.samples).tolist(),
            "route": None if answer.route is None else np.asarray(answer.route).tolist(),
            "decisions": None
            if answer.decisions is None
            else [{"lateral": one.lateral, "longitudinal": one.longitudinal} for one in answer.decisions],
        }
    if isinstance(answer, Mapping):
        return {str(name): value for name, value in answer.items() if name not in ("type", "id", "native")}
    return {"trajectory": answer}


def _listed(value: Any) -> Any:
    """Arrays and tensors, which JSON does not know, as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"the answer holds {type(value).__name__}; it needs numbers, lists or arrays")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _say(answers: IO[bytes], message: Mapping[str, Any]) -> None:
    try:
        line = json.dumps(message, default=_listed)
    except (TypeError, ValueError) as error:
        kept = {name: message.get(name) for name in ("type", "protocol", "id")}
        line = json.dumps({**kept, "error": _told(error), "kind": "wrong shape"})
    answers.write(line.encode() + b"\n")
    answers.flush()
