"""Open a dataset that we wrote with lerobot's own reader, in an environment of its own, and compare every frame.

    python tests/compat/check_lerobot.py [DATASET] [--venv FOLDER]

Without DATASET a small one is written first. Needs `uv` and the network (several GB the first time); with --venv the
environment is kept and used again. Exit code 0 when every frame of every camera, every action, state and task agrees.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

LEROBOT = "lerobot==0.4.4"
LARGEST_DIFFERENCE = 3  # of 255, per pixel: two builds of ffmpeg may round colours differently
READER = """
import json, sys
from pathlib import Path
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

root, out, backend = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] or None
try:
    import torchcodec.decoders
except (ImportError, OSError, RuntimeError):
    backend = backend or "pyav"  # torchcodec needs FFmpeg's shared libraries on the system
dataset = LeRobotDataset("local/compat", root=root, video_backend=backend)
facts = {"frames": len(dataset), "episodes": dataset.num_episodes, "fps": dataset.fps, "cameras": dataset.meta.camera_keys,
         "backend": dataset.video_backend, "tasks": []}
for i in range(len(dataset)):
    item = dataset[i]
    facts["tasks"].append(item["task"])
    arrays = {key: value.numpy() for key, value in item.items() if hasattr(value, "numpy")}
    for key in dataset.meta.camera_keys:
        arrays[key] = np.round(arrays[key] * 255).astype(np.uint8)
    np.savez(out / f"{i:06d}.npz", **arrays)
(out / "facts.json").write_text(json.dumps(facts))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", type=Path)
    parser.add_argument("--venv", type=Path)
    parser.add_argument(
        "--backend", default="", help="lerobot's video backend: torchcodec or pyav; its own choice when empty"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dataset = options.dataset or write_sample(folder / "sample")
        python = environment(options.venv or folder / "venv")
        read = folder / "read"
        read.mkdir()
        (folder / "reader.py").write_text(READER)
        subprocess.run([python, folder / "reader.py", dataset, read, options.backend], check=True)
        return compare(dataset, read)


def environment(venv: Path) -> Path:
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run(
            ["uv", "venv", "--python", f"{sys.version_info.major}.{sys.version_info.minor}", venv], check=True
        )
        subprocess.run(["uv", "pip", "install", "--python", python, LEROBOT], check=True)
    return python


def write_sample(out: Path) -> Path:
    from worldmodel.clips import Clip, Instruction
    from worldmodel.geometry import Motion
    from worldmodel.io.lerobot import write_dataset
    from worldmodel.io.rig_file import nominal_rig

    rng = np.random.default_rng(0)
    rig = nominal_rig(["left", "front", "right"], 128, 96)
    clips = []
    for number, frames in enumerate((40, 25, 1)):
        small = rng.integers(0, 255, (frames, 3, 3, 12, 16))
        clips.append(
            Clip(
                id=f"clip {number}",
                video=small.repeat(8, axis=3).repeat(8, axis=4).astype(np.uint8),
                rig=rig,
                motion=Motion(deltas=rng.normal(0, 1, (frames - 1, 3)), period_s=1 / 8),
                motion_origin="poses",
                frequency_hz=8.0,
                instructions=(Instruction(text="turn left", end_s=1.0), Instruction(text="go on", start_s=2.0)),
            )
        )
    write_dataset(clips, out, name="sample")
    return out


def compare(path: Path, read: Path) -> int:
    from worldmodel.io.lerobot import CAMERA_PREFIX, Dataset

    dataset, facts = Dataset.open(path), json.loads((read / "facts.json").read_text())
    keys = [CAMERA_PREFIX + name for name in dataset.rig.names]
    total = sum(dataset.length(episode) for episode in range(dataset.episodes))
    assert (facts["frames"], facts["episodes"], facts["fps"]) == (total, dataset.episodes, dataset.frequency_hz), facts
    assert facts["cameras"] == keys, facts["cameras"]
    worst, mean, row = 0, [], 0
    for episode in range(dataset.episodes):
        clip = dataset.clip(episode)
        for frame in range(len(clip)):
            theirs = np.load(read / f"{row:06d}.npz")
            for camera, key in enumerate(keys):
                difference = np.abs(theirs[key].astype(int) - clip.video[frame, camera])
                worst, mean = max(worst, int(difference.max())), [*mean, float(difference.mean())]
            if clip.motion is not None:
                assert bool(theirs["action_valid"]) == (frame < len(clip) - 1)
                if frame < len(clip) - 1:
                    np.testing.assert_allclose(theirs["action"], clip.motion.deltas[frame], atol=1e-6)
                np.testing.assert_allclose(
                    theirs["observation.state"][2:4], clip.motion.trajectory().poses[frame, :2], rtol=1e-4, atol=1e-3
                )
            assert facts["tasks"][row] == clip.instruction_at(frame / clip.frequency_hz)
            row += 1
    print(
        f"{LEROBOT} ({facts['backend']}): {total} frames x {len(keys)} cameras in {dataset.episodes} episodes; "
        f"largest pixel difference {worst}, mean {np.mean(mean):.4f}"
    )
    return 0 if worst <= LARGEST_DIFFERENCE else 1


if __name__ == "__main__":
    sys.exit(main())
