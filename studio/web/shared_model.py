"""One world model for all visitors, read when it is first needed."""

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from worldmodel.errors import BadCheckpoint

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


class SharedModel:
    """Loads a checkpoint once; the first caller waits, later ones get it at once.

    Attributes:
        folder: The checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._model: WorldModel | None = None
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether it is loaded."""
        return self._model is not None

    def get(self) -> "WorldModel":
        """The model.

        Raises:
            BadCheckpoint: if the folder holds no sound checkpoint.
        """
        with self._lock:
            if self._model is None:
                if not self.folder.is_dir():
                    raise BadCheckpoint(
                        f"there is no checkpoint at '{self.folder}'. Name a folder that `detour train` wrote with --model."
                    )
                from worldmodel.model import WorldModel

                self._model = WorldModel.from_pretrained(self.folder)
                self._model.text_encoder.encode([""])  # read its weights now, not in the first visitor's first chunk
            return self._model

    def warm_up(self) -> threading.Thread:
        """Load in the background, so that the page opens first; a failure is told to who asks for the model."""
        thread = threading.Thread(target=self._try, name="load-model", daemon=True)
        thread.start()
        return thread

    def _try(self) -> None:
        try:
            self.get()
        except BadCheckpoint:
            return  # `get` says it again when the model is needed

    @property
    def preset(self) -> str:
        """The preset in the checkpoint's config.json, without reading weights; 'unknown' when it cannot be read."""
        try:
            return str(json.loads((self.folder / "config.json").read_text(encoding="utf-8"))["preset"])
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"
