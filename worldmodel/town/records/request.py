"""Which scenes of the town are wanted."""

import shlex
from dataclasses import dataclass

from worldmodel.town.mixes import check_mix, mixed_scenes, scene_list
from worldmodel.town.scene import Scene
from worldmodel.town.traffic import simulate


@dataclass(frozen=True, kw_only=True)
class TownRequest:
    """Which scenes are wanted; `mixed_scenes` says what the fields mean."""

    scenes: int
    seed: int
    seconds: float = 8.0
    frequency_hz: float = 8.0
    situations: tuple[str, ...] | None = None
    mix: str | None = None
    split: str = "train"

    def check(self) -> None:
        """Refuse what cannot be made, before anything is written.

        Raises:
            UnknownName, BadRequest: as `mixed_scenes` and `simulate`.
        """
        first = scene_list(self.scenes, self.seed, situations=self.situations, split=self.split)[0]
        simulate(*first, seconds=self.seconds, frequency_hz=self.frequency_hz)
        if self.mix is not None:
            check_mix(self.mix, self.seconds, self.frequency_hz)

    def pairs(self, workers: int = 1) -> list[tuple[str, int]]:
        """The (situation, seed) of every scene."""
        return mixed_scenes(
            self.mix,
            self.scenes,
            self.seed,
            situations=self.situations,
            split=self.split,
            seconds=self.seconds,
            frequency_hz=self.frequency_hz,
            workers=workers,
        )

    def scene(self, pair: tuple[str, int]) -> Scene:
        """One of its scenes."""
        return simulate(*pair, seconds=self.seconds, frequency_hz=self.frequency_hz)

    def options(self) -> str:
        """The same request as options of `detour town`."""
        words = ["--scenes", str(self.scenes), "--seed", str(self.seed), "--split", self.split]
        words += ["--seconds", f"{self.seconds:g}", "--frequency", f"{self.frequency_hz:g}"]
        words += [] if self.mix is None else ["--mix", self.mix]
        for situation in self.situations or ():
            words += ["--situation", situation]
        return shlex.join(words)
