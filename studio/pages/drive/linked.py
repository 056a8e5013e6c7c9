"""What a link sets on the Drive page."""

from typing import Any

from studio.pages.drive.parts import WORLDS
from studio.web.links import Link
from worldmodel.errors import BadRequest

DEFAULTS = {"world": "dream", "seed": "0", "steps": "8", "text": ""}  # what a link leaves out


def linked_values(link: Link) -> dict[str, Any]:
    """Values of the widgets by name.

    Raises:
        BadRequest: naming the value that cannot be used.
    """
    values = {**DEFAULTS, **link.values}
    if values["world"] not in WORLDS.values():
        raise BadRequest(
            f"the link says world={values['world'][:40]}; it must be one of {', '.join(WORLDS.values())}. Repair it."
        )
    return {
        "world": values["world"],
        "seed": int(link.number("seed", 0, 0, 2**53)),
        "steps": min((4, 8, 16), key=lambda n: abs(n - link.number("steps", 8, 1, 64))),
        "text": values["text"][:500],
    }
