"""How published models count frames, resize and condition when they are scored, as far as their files say.

A preset is a starting point: what its files leave open stays open (`unknown`), and an option given by hand overrides it,
which the card then says. `docs/published.md` quotes the sources.
"""

from dataclasses import dataclass, replace

from eval_fid_fvd.options import ScoreOptions
from eval_fid_fvd.picture_steps import Crop, CropToShape, Resize
from worldmodel.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One published way of scoring.

    Attributes:
        name: As asked for.
        metrics: Those it reports.
        options: How it counts and converts.
        networks: What it measures with, in words.
        unknown: What its files do not say.
        sources: Where the rest was read.
    """

    name: str
    metrics: tuple[str, ...]
    options: ScoreOptions
    networks: str
    unknown: tuple[str, ...]
    sources: tuple[str, ...]


VISTA = Preset(
    name="vista",
    metrics=("fid", "fvd"),
    options=ScoreOptions(
        preset="vista",
        frequency_hz=10.0,
        condition_frames=1,
        frames=24,
        clips_with_condition=True,
        steps=(CropToShape(width=1024, height=576), Resize(width_px=1024, height_px=576, by="PIL Lanczos")),
    ),
    networks="FID: torchmetrics' Inception 2015; FVD: I3D code modified from LVDM, not released",
    unknown=(
        "the FVD code and its resizing",
        "whether FVD takes the condition frame (users do; FID does not)",
        "whether frames went through mp4 or PNG",
    ),
    sources=(
        "github.com/OpenDriveLab/Vista sample.py (25 frames, 1 condition frame, 576x1024, 10 Hz, crop then Lanczos)",
        "github.com/OpenDriveLab/Vista/issues/9 (whole nuScenes val, 5369 clips, torchmetrics, LVDM, action-free)",
        "github.com/OpenDriveLab/Vista/issues/37 (condition frames left out of FID: 5369 x 24)",
    ),
)

EPONA = Preset(
    name="epona",
    metrics=("fid", "fvd"),
    options=ScoreOptions(
        preset="epona",
        frequency_hz=10.0,
        condition_frames=10,
        steps=(Resize(width_px=1024, by="bilinear without antialias"), Crop(width_px=1024, height_px=512)),
    ),
    networks="not said",
    unknown=(
        "how many of the 50 generated frames are scored",
        "the FID and FVD code and their resizing",
        "which 1646 clips (interval sampling of nuScenes val)",
        "whether condition frames are scored; here they are left out",
    ),
    sources=(
        "github.com/Kevin-thu/Epona configs/dit_config_dcae_nuscenes.py (10 Hz, 512x1024, 10 condition frames)",
        "github.com/Kevin-thu/Epona dataset/dataset.py (cv2 bilinear to 1024 wide, crop of the middle; from frame 0 on)",
        "github.com/Kevin-thu/Epona/issues/16 (1646 clips by interval sampling; fewer than 1000 are unstable)",
    ),
)

MAGICDRIVE_V2 = Preset(
    name="magicdrive-v2",
    metrics=("fvd",),
    options=ScoreOptions(
        preset="magicdrive-v2",
        frequency_hz=12.0,
        frames=16,
        paired=False,
        steps=(
            Resize(width_px=400, height_px=225, by="PIL bicubic"),
            Crop(width_px=400, height_px=212, keep="bottom"),
            Resize(short_px=224, by="bilinear without antialias"),
            Crop(width_px=224, height_px=224),
        ),
    ),
    networks="FVD: I3D Kinetics-400 logits of VideoGPT's code, six cameras pooled, 4 generations of 150 scenes",
    unknown=("whether a reference frame is given (asked in issue 74, not answered; its config shows none)",),
    sources=(
        "github.com/pixeli99/W-CODA2024-Track2 get_fvd_features_gen.py, fvd/videogpt/fvd.py",
        "github.com/flymin/MagicDrive-V2 configs/magicdrive/test/17-16x848x1600_*.py (12 Hz, 17 frames cut to 16)",
        "github.com/flymin/MagicDrive-V2/issues/61 (212 rows instead of 224; FVD 167.27 against 94.19)",
    ),
)

OPENDWM = Preset(
    name="opendwm",
    metrics=("fid", "fvd"),
    options=ScoreOptions(
        preset="opendwm",
        frequency_hz=10.0,
        frames=16,
        steps=(Resize(width_px=448, height_px=256),),
    ),
    networks="FID: torchmetrics' Inception 2015; FVD: I3D Kinetics-400 of TATS, squashed to 224x224, first 16 frames",
    unknown=(
        "FID takes all frames of its roll-out (35 in that file), here the first 16 as FVD does",
        "which items: 640 with all cameras pooled, in one figure of several data sets",
        "its figures with 0, 1 and 3 reference frames: give --condition-frames, and what the files say is 'first 16 frames'",
    ),
    sources=(
        "github.com/SenseTime-FVG/OpenDWM src/dwm/metrics/fvd.py, src/dwm/pipelines/ctsd.py (evaluate_pipeline)",
        "github.com/SenseTime-FVG/OpenDWM configs/ctsd/multi_datasets/ctsd_35_tirda_bm_nwao.json",
    ),
)

PRESETS = {preset.name: preset for preset in (VISTA, EPONA, MAGICDRIVE_V2, OPENDWM)}


def preset_of(name: str) -> Preset:
    """A preset by its name.

    Raises:
        UnknownName: if there is none; the closest is offered.
    """
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return PRESETS[name]


def options_of(
    preset: Preset | None,
    *,
    frames: int | None,
    condition_frames: int | None,
    frequency_hz: float | None,
    size: tuple[int, int] | None,
) -> ScoreOptions:
    """A preset's options (or the usual ones) with what is given by hand; the card names what was changed."""
    base = ScoreOptions() if preset is None else preset.options
    if size is not None:
        base = replace(base, steps=(Resize(width_px=size[0], height_px=size[1]),))
    given = {"frames": frames, "condition_frames": condition_frames, "frequency_hz": frequency_hz}
    changed = {name: value for name, value in given.items() if value is not None}
    name = base.preset
    if preset is not None and (touched := [*changed, *(["size"] if size else [])]):
        name = f"{preset.name}, with another {', '.join(touched)}"
    return replace(base, preset=name, **changed)  # type: ignore[arg-type]
