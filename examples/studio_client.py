"""Call a running studio from a program: imagine a future, put a car in the way, ask for plans.

uv run app.py &
uv run python examples/studio_client.py http://127.0.0.1:7860
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from gradio_client import Client


def ask(address: str, clip: str, seconds: float, out: Path, auth: tuple[str, str] | None = None) -> dict[str, Any]:
    """Ask all three questions about one clip; returns the facts and leaves the films in `out`.

    Args:
        address: Of the studio.
        clip: EPISODE[@SECONDS] of the clips that ship.
        seconds: How far to imagine.
        out: Folder for the films.
        auth: User and password of a studio that has them.
    """
    out.mkdir(parents=True, exist_ok=True)
    client = Client(address, auth=auth, verbose=False)
    try:
        imagined = client.predict(clip=clip, text="slow down and stop", seconds=seconds, seed=1, api_name="/imagine")
        stitched = client.predict(clip=clip, variant="near", kind="car", seed=1, api_name="/stitch")
        planned = client.predict(clip=clip, planners=["joint", "constant-velocity"], seed=1, api_name="/plan")
    finally:
        client.close()
    for name, answer in (("imagined", imagined), ("stitched", stitched)):
        shutil.copyfile(answer["files"]["film"], out / f"{name}.mp4")
    return {"imagined": imagined["facts"], "stitched": stitched["facts"], "planned": planned["facts"]}


def main() -> None:
    """Ask, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:7860")
    parser.add_argument("--clip", default="2@4", help="EPISODE@SECONDS of the clips that ship")
    parser.add_argument("--seconds", type=float, default=2.0, help="how far to imagine")
    parser.add_argument("--out", type=Path, default=Path("studio-answers"), help="folder for the films")
    parser.add_argument("--auth", help="USER:PASSWORD of a studio that has one")
    asked = parser.parse_args()
    auth = None if asked.auth is None else tuple(asked.auth.split(":", 1))
    facts = ask(asked.address, asked.clip, asked.seconds, asked.out, auth)
    end = facts["imagined"]["trajectory"][-1]
    print(f"imagined: {end['x_m']:.1f} m ahead and {end['y_m']:+.1f} m to the left after {end['t_s']:g} s")
    for planner, response in facts["stitched"]["responses"].items():
        print(f"with a car 12 m ahead, {planner} drives {response['path_length_change_m']:+.2f} m in 4 s")
    print(f"plans: {json.dumps([plan['planner'] for plan in facts['planned']['plans']])}; films in {asked.out}")


if __name__ == "__main__":
    main()
