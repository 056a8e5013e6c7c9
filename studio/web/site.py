"""What all pages share: the model, the visitors, the queue for the model, the films, the clips."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from studio.live.tasks.tasks import Tasks
from studio.web.arrivals.limits import Limits
from studio.web.films import Films
from studio.web.shared_model import SharedModel
from studio.web.turns import Turns
from studio.web.visitors import Visitors
from worldmodel.errors import BadDataset
from worldmodel.io.lerobot import Dataset

MINE = "mine/"  # how a page names a dataset in the visitor's own folder
DATASETS = "datasets"  # where these lie in that folder


@dataclass(frozen=True, eq=False, kw_only=True)
class Site:
    """One running studio.

    Attributes:
        model: The world model, read once for all.
        clips: The dataset that pages open with.
        any_folder: Whether visitors may name folders of this machine; only for pages that nobody else can reach.
        visitors: Folders and stop signals by session.
        turns: The queue for the model.
        films: The frames that players show.
        limits: What visitors may upload and keep.
        tasks: What goes on in the background.
    """

    model: SharedModel
    clips: Path
    any_folder: bool = True
    visitors: Visitors = field(default_factory=Visitors)
    turns: Turns = field(default_factory=Turns)
    films: Films = field(default_factory=Films)
    limits: Limits = field(default_factory=Limits)
    tasks: Tasks = field(default_factory=Tasks)

    @staticmethod
    def open(model: Path | str, clips: Path | str, *, any_folder: bool = True, limits: Limits | None = None) -> "Site":
        """A studio for a checkpoint folder and a dataset folder; nothing heavy is read yet."""
        return Site(model=SharedModel(Path(model)), clips=Path(clips), any_folder=any_folder, limits=limits or Limits())

    @cached_property
    def shipped(self) -> Dataset:
        """The dataset that pages open with."""
        return Dataset.open(self.clips)

    def dataset(self, session: str, name: str | None) -> Dataset:
        """The dataset a visitor names: '' for the shipped one, 'mine/NAME' for an upload, else a folder of this machine.

        Raises:
            BadDataset: if there is none at that place, or other folders are not open to visitors.
        """
        text = (name or "").strip()
        if not text:
            return self.shipped
        if text.startswith(MINE):
            return self._uploaded(session, text.removeprefix(MINE))
        path = Path(os.path.expanduser(text))  # unlike Path, it leaves people alone that do not exist
        if self.any_folder or path.resolve() == self.clips.resolve():
            return Dataset.open(path)
        raise BadDataset(
            f"'{text[:200]}' is not open here: this studio can be reached from other machines. Use the clips that are shown, "
            "or upload your own."
        )

    def _uploaded(self, session: str, name: str) -> Dataset:
        root = (self.visitors.folder(session) / DATASETS).resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root) or path == root or not path.is_dir():
            raise BadDataset(
                f"there is no upload '{name[:80]}' of yours; uploads are removed when the tab is closed. Upload it again."
            )
        return Dataset.open(path)

    def close(self, session: str) -> None:
        """A tab was closed: stop its work, remove its folder and films."""
        self.tasks.close(session)
        self.visitors.close(session)
        self.films.close(session)

    def close_all(self) -> None:
        """The studio ends."""
        self.tasks.close_all()
        self.visitors.close_all()
