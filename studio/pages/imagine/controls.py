"""The controls of the page Imagine as one value, and back."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from studio.live.imagine.drawn_paths import checked_waypoints, path_through, waypoint_times
from studio.live.imagine.wishes import PATH, POLICY, SPEED, ImagineWish
from studio.pages.imagine.parts import CHANGES
from studio.web.shelf import Choice
from worldmodel.errors import BadRequest
from worldmodel.sampling import Sampling

CONTROLS = (
    "text", *(f"{name}{i}" for i in range(CHANGES) for name in ("from", "then")), "drive", "speed", "turn", "seconds",
    "futures", "seed", "steps", "text_weight", "motion_weight", "past_weight", "memory", "above",
)  # fmt: skip


def wish_of_controls(choice: Choice, values: Sequence[Any]) -> ImagineWish:
    """What the controls ask for, their values in the order of CONTROLS.

    Raises:
        BadRequest: if something is missing or out of range.
    """
    said = dict(zip(CONTROLS, values, strict=True))
    changes = [(said[f"from{i}"], said[f"then{i}"]) for i in range(CHANGES) if (said[f"then{i}"] or "").strip()]
    if any(start is None for start, _ in changes):
        raise BadRequest("an instruction on the way has no time. Give the second from which it holds.")
    return ImagineWish(
        choice=choice,
        text=said["text"] or "",
        changes=tuple(sorted((float(start), text.strip()) for start, text in changes)),
        drive=said["drive"],
        speed_mps=said["speed"],
        turn_degps=said["turn"],
        waypoints=waypoints_of(said["above"]) if said["drive"] == PATH else (),
        seconds=said["seconds"],
        seed=said["seed"],
        futures=said["futures"],
        sampling=Sampling(
            steps=said["steps"],
            guidance_text=said["text_weight"],
            guidance_motion=said["motion_weight"],
            guidance_history=said["past_weight"],
            memory=said["memory"],
        ),
    )


def waypoints_of(above: Any) -> tuple[tuple[float, float], ...]:
    """The points that were dragged, from the bird's-eye view's value.

    Raises:
        BadRequest: if there is none, or they are no places.
    """
    points = above.get("waypoints") if isinstance(above, Mapping) else None
    return checked_waypoints(points if isinstance(points, list) else [])


def drawn_words(points: Sequence[Sequence[float]], seconds: float) -> str:
    """What the drawn path amounts to: when the points are reached and how fast that is."""
    if not points:
        return ""
    checked = checked_waypoints(points)
    times = waypoint_times(len(checked), seconds)
    path = path_through(checked, seconds, frequency_hz=8.0)
    mean = path.path_length_m / seconds
    words = (
        f"Drag the {len(checked)} points on the view from above: the car reaches one each {times[0]:.2g} s. "
        f"{path.path_length_m:.0f} m in {seconds:g} s, {mean:.1f} m/s ({mean * 3.6:.0f} km/h) on average."
    )
    return f'<p class="empty-note">{escape(words)}</p>'


def control_values(wish: ImagineWish) -> dict[str, Any]:
    """What the controls show for a wish; the drawn path goes with the view from above."""
    sampling = wish.sampling
    values: dict[str, Any] = {
        "text": wish.text, "drive": wish.drive if wish.drive in (POLICY, SPEED, PATH) else POLICY,
        "speed": wish.speed_mps, "turn": wish.turn_degps, "seconds": wish.seconds, "futures": wish.futures,
        "seed": wish.seed, "steps": sampling.steps, "text_weight": sampling.guidance_text,
        "motion_weight": sampling.guidance_motion, "past_weight": sampling.guidance_history, "memory": sampling.memory,
    }  # fmt: skip
    for i in range(CHANGES):
        start, text = wish.changes[i] if i < len(wish.changes) else (float(i + 1), "")
        values |= {f"from{i}": start, f"then{i}": text}
    return values
