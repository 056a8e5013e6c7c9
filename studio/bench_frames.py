"""Frames of mp4 files for a torch data loader, as torch-fidelity's loop wants them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from worldmodel.io.video import read_frames


class VideoFrames(Dataset[Tensor]):
    """Frame i of all files in a row, uint8 [3, h, w]; a file is decoded whole and kept until the next one is needed."""

    def __init__(self, files: Sequence[Path], frames: int) -> None:
        self.files, self.frames = tuple(files), frames
        self.held, self.clip = -1, torch.empty(0)

    def __len__(self) -> int:
        return len(self.files) * self.frames

    def __getitem__(self, index: int) -> Tensor:
        clip, frame = divmod(index, self.frames)
        if clip != self.held:
            self.held, self.clip = clip, torch.from_numpy(read_frames(self.files[clip]))
        return self.clip[frame]
