"""`detour import`: recordings of a known form to a dataset."""

from collections.abc import Callable, Sequence
from pathlib import Path

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.io.folder import import_folder
from worldmodel.io.lerobot import Dataset
from worldmodel.io.lerobot_import import import_lerobot

FORMATS: dict[str, Callable[..., Dataset]] = {"folder": import_folder, "lerobot": import_lerobot}


def run_import(
    src: Path,
    out: Path,
    *,
    form: str = "folder",
    frequency_hz: float | None = None,
    width_px: int | None = None,
    height_px: int | None = None,
    letterbox: bool = False,
    clips: Sequence[str] | None = None,
    fov_deg: float | None = None,
    vehicle: dict[str, float] | None = None,
    on_clip: Callable[[int, int, str], None] | None = None,
) -> Dataset:
    """Import recordings as a new dataset; arguments as `import_folder` and `import_lerobot`.

    Args:
        fov_deg: Horizontal field of view of a nominal rig; None keeps the reader's own.
        vehicle: `wheelbase_m` and `steering_lock_rad`, where motion is estimated from steering.

    Raises:
        UnknownName: for a form that is not read.
        BadRequest: for vehicle values that the form cannot use.
        BadInput: if the recordings cannot be used, or `out` exists.
    """
    if form not in FORMATS:
        raise UnknownName("format", form, FORMATS)
    extras: dict[str, float] = dict(vehicle or {})
    if extras and form != "folder":
        raise BadRequest(f"{', '.join(extras)} belong to steering, which form '{form}' does not read. Leave them out.")
    if fov_deg is not None:
        extras["fov_deg"] = fov_deg
    return FORMATS[form](
        src,
        out,
        frequency_hz=frequency_hz,
        width_px=width_px,
        height_px=height_px,
        letterbox=letterbox,
        clips=clips,
        on_clip=on_clip,
        **extras,
    )
