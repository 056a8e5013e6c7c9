"""What `detour bench town` measures: how fast scenes are simulated and rendered, and how close quick antialiasing comes."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from studio.machine import about_machine

if TYPE_CHECKING:
    from worldmodel.geometry import Rig
    from worldmodel.town.scene import Scene

CASES = (  # situation, weather, hour
    ("street", "clear", 13.0),
    ("highway", "wet", 10.0),
    ("intersection", "rain", 22.0),
    ("roundabout", "snow", 15.0),
    ("traffic_light", "clear", 23.0),
)
WIDTH_PX, HEIGHT_PX, CAMERAS = 224, 128, 3
SEED, SECONDS, FREQUENCY_HZ = 7, 4.0, 8.0
BEST_PSNR_DB = 99.0  # what equal pictures count


@dataclass(frozen=True, kw_only=True)
class TownSpeed:
    """What one scene takes.

    Attributes:
        simulated_per_s: Simulated seconds per second.
        smooth_fps, smooth_spread_fps: Multi-view frames per second with antialiasing: median, and largest minus smallest.
        rough_fps, rough_spread_fps: The same without.
        psnr_db: Of antialiased pictures against full 2x2 supersampling.
    """

    situation: str
    weather: str
    hour: float
    simulated_per_s: float
    smooth_fps: float
    smooth_spread_fps: float
    rough_fps: float
    rough_spread_fps: float
    psnr_db: float


def run_town_bench(
    *, frames: int, repeats: int, threads: int, progress: Callable[[str, float | None], None] | None = None
) -> list[TownSpeed]:
    """Measure all cases, one after the other.

    Args:
        frames: Multi-view frames per measurement.
        repeats: Measurements, of which the median counts; one more before them warms up and does not count.
        threads: Of the renderer; the number before is restored.
        progress: Called with (case, None) when it begins and with its seconds when it has ended.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return [_measured(case, frames, repeats, progress) for case in CASES]
    finally:
        torch.set_num_threads(before)


def _measured(
    case: tuple[str, str, float], frames: int, repeats: int, progress: Callable[[str, float | None], None] | None
) -> TownSpeed:
    from worldmodel.town.scene import town_rig
    from worldmodel.town.setting.layout import light_at
    from worldmodel.town.traffic import simulate

    situation, weather, hour = case
    name, started = f"{situation}, {weather}, {hour:g} h", time.perf_counter()
    if progress is not None:
        progress(name, None)
    simulate(situation, SEED, seconds=1.0, frequency_hz=FREQUENCY_HZ)  # imports and caches do not count
    taken, scene = _timed(lambda: simulate(situation, SEED, seconds=SECONDS, frequency_hz=FREQUENCY_HZ))
    scene = replace(scene, light=light_at(scene.light, weather, hour))
    rig = town_rig(CAMERAS, WIDTH_PX, HEIGHT_PX)
    chosen = [k * len(scene) // frames for k in range(frames)]
    smooth = _rates(scene, rig, chosen, repeats, supersample=2)
    rough = _rates(scene, rig, chosen, repeats, supersample=1)
    if progress is not None:
        progress(name, time.perf_counter() - started)
    return TownSpeed(
        situation=situation,
        weather=weather,
        hour=hour,
        simulated_per_s=SECONDS / taken,
        smooth_fps=statistics.median(smooth),
        smooth_spread_fps=max(smooth) - min(smooth),
        rough_fps=statistics.median(rough),
        rough_spread_fps=max(rough) - min(rough),
        psnr_db=antialiasing_psnr_db(scene, rig, chosen[:: max(1, frames // 2)]),
    )


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _rates(scene: "Scene", rig: "Rig", frames: list[int], repeats: int, *, supersample: int) -> list[float]:
    """Multi-view frames per second, once per repeat; the first call is not counted."""
    from worldmodel.town.render import render

    render(scene, rig, frames[:1], supersample=supersample)
    taken = [_timed(lambda: render(scene, rig, frames, supersample=supersample))[0] for _ in range(repeats)]
    return [len(frames) / seconds for seconds in taken]


def antialiasing_psnr_db(scene: "Scene", rig: "Rig", frames: list[int]) -> float:
    """Peak signal-to-noise ratio of adaptive antialiasing against full 2x2 supersampling."""
    import numpy as np

    from worldmodel.town.render import render

    quick, full = (render(scene, rig, frames, adaptive=way).rgb.astype(np.float64) for way in (True, False))
    error = float(np.mean((quick - full) ** 2))
    return min(BEST_PSNR_DB, 10 * float(np.log10(255.0**2 / error))) if error else BEST_PSNR_DB


def town_table(rows: list[TownSpeed], machine: dict[str, Any]) -> str:
    """The measurements as text."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    text = Table(title=f"town, {CAMERAS} cameras of {WIDTH_PX}x{HEIGHT_PX}", title_justify="left")
    for name in ("situation", "weather", "hour", "simulated s/s", "frames/s", "without AA", "PSNR dB"):
        text.add_column(name, justify="left" if name in ("situation", "weather") else "right")
    for row in rows:
        smooth = f"{row.smooth_fps:.1f} ±{row.smooth_spread_fps / 2:.1f}"
        rough = f"{row.rough_fps:.1f} ±{row.rough_spread_fps / 2:.1f}"
        cells = (f"{row.hour:g}", f"{row.simulated_per_s:.1f}", smooth, rough, f"{row.psnr_db:.1f}")
        text.add_row(row.situation, row.weather, *cells)
    into = Console(file=StringIO(), width=96)
    into.print(text)
    assert isinstance(into.file, StringIO)
    about = f"{about_machine(machine)}; frames/s is all cameras with antialiasing, PSNR against full 2x2"
    return into.file.getvalue() + about
