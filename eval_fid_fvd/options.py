"""How clips are counted, and how sure the numbers shall be."""

from dataclasses import dataclass

from eval_fid_fvd.picture_steps import PictureStep
from worldmodel.errors import BadRequest


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """What a comparison is asked for, besides its metrics and networks.

    Attributes:
        condition_frames: Frames at the start of each clip that the model was given; left out on both sides.
        frames: Frames per clip to score after those; None for all (then all clips must be equally long).
        clips_with_condition: Scores of clips (FVD, KVD) take the condition frames in, others leave them out.
        paired: Whether clips of equal names belong together (a missing partner is an error) or the sides are two sets.
        per_camera: Whether every number is also given for each camera alone.
        steps: How pictures of both sides are resized and cropped first; without any, sizes must be equal.
        frequency_hz: Rate that both sides are thinned to; None for their own, which must be equal.
        window_s: Also every metric in windows of this many seconds along the clips; None for none.
        drift: Also how far clips move away from their own beginning.
        consistency: Also whether cameras agree on the ground they share; needs a dataset on one side.
        resamples: Bootstrap resamples for each interval.
        seed: Of the resampling.
        device: Where the feature networks run; written on the card.
        preset: Whose way of counting this is, or 'none'; written on the card.
    """

    condition_frames: int = 0
    frames: int | None = None
    clips_with_condition: bool = False
    paired: bool = True
    per_camera: bool = False
    steps: tuple[PictureStep, ...] = ()
    frequency_hz: float | None = None
    window_s: float | None = None
    drift: bool = False
    consistency: bool = False
    resamples: int = 200
    seed: int = 0
    device: str = "cpu"
    preset: str = "none"

    def __post_init__(self) -> None:
        if self.condition_frames < 0 or (self.frames is not None and self.frames < 1) or self.resamples < 1:
            raise BadRequest(
                f"ScoreOptions has condition_frames {self.condition_frames}, frames {self.frames}, resamples "
                f"{self.resamples}; they must be >= 0, >= 1 and >= 1. Change them."
            )
        if self.frequency_hz is not None and not 0 < self.frequency_hz <= 1000:
            raise BadRequest(f"a rate of {self.frequency_hz:g} Hz is asked for; it must be positive, at most 1000 Hz.")
