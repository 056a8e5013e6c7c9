"""What the Drive page says while somebody drives, and afterwards."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from studio.live.drive.hands import PAD_CAR

if TYPE_CHECKING:
    from studio.live.drive.driving import Driving
    from studio.live.drive.ride import DriveView

CSS = """
.gauges { display: grid; grid-template-columns: repeat(auto-fit, minmax(104px, 1fr)); gap: 4px 14px; margin: 0; min-height: 48px; }
.gauges div { min-width: 0; }
.gauges dt { font-size: .78rem; color: var(--body-text-color-subdued); }
.gauges dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.gauges small { font-weight: 400; color: var(--body-text-color-subdued); }
"""


def gauges_of(values: Mapping[str, str]) -> str:
    """Speed, time, memory, pace and delay; a dash where nothing is known yet."""
    names = ("Speed", "Driven", "Remembered", "Pictures", "Hand to eye")
    cells = "".join(f"<div><dt>{name}</dt><dd>{values.get(name, '–')}</dd></div>" for name in names)
    return (
        f'<dl class="gauges" aria-label="Gauges of the drive, at most {PAD_CAR.speed_mps * 3.6:.0f} km/h">{cells}</dl>'
    )


def gauges(view: "DriveView", driving: "Driving") -> Mapping[str, str]:
    """What the gauges show."""
    speed = view.car.speed_mps
    found = {
        "Speed": f"{speed * 3.6:.0f} km/h <small>{speed:.1f} m/s</small>",
        "Driven": f"{view.driven_s:.1f} s <small>of {driving.longest_s:.0f}</small>",
        "Hand to eye": f"{view.delay_s:.1f} s",
    }
    if view.memory is not None:
        found["Remembered"] = f"{view.memory[0]:g} s <small>{view.memory[1]:.1f} MB</small>"
    if view.pace_hz is not None:
        found["Pictures"] = f"{view.pace_hz:.1f} /s <small>of {driving.rate_hz:g}</small>"
    return found


def who_drives(view: "DriveView") -> str:
    """Who drives, and what the driver is told."""
    told = f", told “{view.text}”" if view.text else ""
    return f"The autopilot drives{told}." if view.plan is not None else f"You drive{told}."


def outcome(driving: "Driving") -> str:
    """Why a drive ended, how far it came, and how it went in the town."""
    metres = next(iter(driving.reels.values())).path_driven().path_length_m
    text = f"{driving.ended} {metres:.0f} m in {driving.driven_s:.1f} s."
    score = driving.score
    if score is None:
        return text
    wrong = ", ".join(score.infractions) or "no infraction"
    return f"{text} In the town {score.progress_m:.0f} m along the route of {score.route_m:.0f} m; {wrong}."


def repeated(driving: "Driving") -> str:
    """Whether the command line can imagine the same again."""
    if driving.repeatable:
        return "The command below imagines the same from the path (as driven.csv)."
    return (
        "With what was put in the way it cannot be imagined again from the path alone."
        if "dream" in driving.reels
        else ""
    )
