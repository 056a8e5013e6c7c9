"""The card of a town dataset: what is in it, how it was made and what it is not, for people and for machines."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from worldmodel.decisions import LATERAL, LONGITUDINAL
from worldmodel.errors import BadDataset
from worldmodel.geometry import Rig
from worldmodel.plans import Decision
from worldmodel.town.mixes import MIXES, SPLIT_SIZE, SPLITS
from worldmodel.town.records.fingerprint import town_fingerprint
from worldmodel.town.records.moments import CRITICAL_M, Moments, critical_share, decision_shares, moments_of
from worldmodel.town.records.request import TownRequest
from worldmodel.town.scene import WEATHERS, Scene

LICENCE = "apache-2.0"  # as of Detour itself
HOURS = ((0, 6), (6, 9), (9, 15), (15, 18), (18, 21), (21, 24))
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, kw_only=True)
class SceneFacts:
    """What the card says about one scene.

    Attributes:
        hour: Of the day.
        night: Whether the sun is below the horizon.
        to_be_followed: False where the instruction is misleading.
    """

    situation: str
    seed: int
    frames: int
    weather: str
    hour: float
    night: bool
    to_be_followed: bool
    moments: Moments


def scene_facts(scene: Scene) -> SceneFacts:
    """What the card says about a scene."""
    return SceneFacts(
        situation=scene.situation,
        seed=scene.seed,
        frames=len(scene),
        weather=scene.light.weather,
        hour=scene.light.hour,
        night=scene.light.sun_elevation_rad < 0,
        to_be_followed=scene.to_be_followed,
        moments=moments_of(scene),
    )


def save_facts(facts: SceneFacts, folder: Path) -> None:
    """Write `facts.json`."""
    (folder / "facts.json").write_text(json.dumps(asdict(facts), allow_nan=False))


def load_facts(folder: Path) -> SceneFacts:
    """What `save_facts` wrote.

    Raises:
        BadDataset: if it is not there or not whole.
    """
    try:
        facts = json.loads((folder / "facts.json").read_text())
        made = tuple(tuple(Decision(**decision) for decision in row) for row in facts["moments"]["decisions"])
        moments = Moments(gaps_m=tuple(facts.pop("moments")["gaps_m"]), decisions=made)
        return SceneFacts(**facts, moments=moments)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadDataset(f"'{folder}' is not whole ({error}). Remove it; it is made again.") from error


def write_card(
    folder: Path, request: TownRequest, scenes: Sequence[SceneFacts], *, rig: Rig | None, rig_name: str = ""
) -> None:
    """Write `README.md` and `meta/town.json` of a dataset, or of tracks (where there is no rig)."""
    content = town_content(request, scenes, rig=rig, rig_name=rig_name)
    (folder / "meta").mkdir(exist_ok=True)
    (folder / "meta" / "town.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    (folder / "README.md").write_text(card_text(content), encoding="utf-8")


def town_content(
    request: TownRequest, scenes: Sequence[SceneFacts], *, rig: Rig | None, rig_name: str = ""
) -> dict[str, Any]:
    """Everything that the card says, as plain data."""
    moments = [each.moments for each in scenes]
    frames = sum(each.frames for each in scenes)
    return {
        "version": 1,
        "command": command(request, rig, rig_name),
        "request": asdict(request),
        "detour": _version(),
        "town": town_fingerprint(),
        "licence": LICENCE,
        "rig": None if rig is None else _rig(rig, rig_name),
        "scenes": len(scenes),
        "frames": frames,
        "seconds": frames / request.frequency_hz,
        "seed_ranges": {name: [first, first + SPLIT_SIZE - 1] for name, first in SPLITS.items()},
        "situations": dict(sorted(Counter(each.situation for each in scenes).items())),
        "weathers": {name: sum(each.weather == name for each in scenes) for name in WEATHERS},
        "hours": {f"{a}-{b}": sum(a <= each.hour % 24 < b for each in scenes) for a, b in HOURS},
        "night": sum(each.night for each in scenes),
        "misleading": sum(not each.to_be_followed for each in scenes),
        "moments": {
            "count": sum(len(each) for each in moments),
            "critical_gap_m": CRITICAL_M,
            "critical_share": critical_share(moments),
            "by_situation": _by_situation(scenes),
            "decisions": decision_shares(moments),
        },
        "episodes": [
            {"situation": each.situation, "seed": each.seed, "weather": each.weather, "hour": round(each.hour, 2)}
            for each in scenes
        ],
    }


def command(request: TownRequest, rig: Rig | None, rig_name: str) -> str:
    """The command that makes the same again."""
    if rig is None:
        return f"detour town OUT {request.options()} --tracks"
    size = f"--width {rig.width_px} --height {rig.height_px}"
    return f"detour town OUT {request.options()}{f' --rig {rig_name}' if rig_name else ''} {size}"


def _version() -> str:
    try:
        return version("detour")
    except PackageNotFoundError:
        return "not installed"


def _rig(rig: Rig, name: str) -> dict[str, Any]:
    return {"name": name, "cameras": list(rig.names), "width_px": rig.width_px, "height_px": rig.height_px}


def _by_situation(scenes: Sequence[SceneFacts]) -> dict[str, float]:
    names = sorted({each.situation for each in scenes})
    return {name: critical_share([each.moments for each in scenes if each.situation == name]) for name in names}


def card_text(content: dict[str, Any]) -> str:
    """The card as Markdown, with the header that the Hugging Face hub reads."""
    return "\n".join([*_header(content), *_summary(content), *_seeds(content), *_tables(content), *_limits(content)])


def _header(content: dict[str, Any]) -> Iterable[str]:
    size = next((name for limit, name in SIZES if content["frames"] < limit), "n>1M")
    data = "tracks.parquet" if content["rig"] is None else "data/*/*.parquet"
    yield from ("---", f"license: {content['licence']}", "task_categories:", "- robotics")
    yield from ("tags:", "- driving", "- simulated", "- detour", *([] if content["rig"] is None else ["- LeRobot"]))
    yield from (
        "size_categories:",
        f"- {size}",
        "configs:",
        "- config_name: default",
        f"  data_files: {data}",
        "---",
        "",
    )


def _summary(content: dict[str, Any]) -> Iterable[str]:
    request, rig = content["request"], content["rig"]
    yield "# Scenes of Detour's embedded town"
    yield ""
    yield f"Simulated driving: {content['scenes']} scenes, {content['frames']} frames, {content['seconds'] / 60:.1f} minutes"
    yield f"at {request['frequency_hz']:g} Hz."
    if rig is None:
        yield "Scene states alone (`tracks.parquet`), without pictures; `worldmodel.town.tracks` reads them, and"
        yield "`worldmodel.town.render` renders them."
    else:
        yield f"{len(rig['cameras'])} cameras ({', '.join(rig['cameras'])}) of {rig['width_px']}x{rig['height_px']} px"
        yield "as H.264 video, exact ego motion, 3D boxes with visibility, instructions, hints, notices, a description,"
        yield "decisions and questions with answers. LeRobot v3.0; `worldmodel.io.lerobot` reads all of it."
    yield from ("", "```", content["command"], "```", "")
    yield f"Made with Detour {content['detour']}, town {content['town']}. The same command gives the same bytes."
    yield ""


def _seeds(content: dict[str, Any]) -> Iterable[str]:
    used = [each["seed"] for each in content["episodes"]]
    yield f"Split **{content['request']['split']}**, seeds {min(used):,} to {max(used):,}. The splits never share a seed:"
    yield from ("", "| split | first seed | last seed |", "|---|---|---|")
    yield from (f"| {name} | {first:,} | {last:,} |" for name, (first, last) in content["seed_ranges"].items())
    yield ""


def _tables(content: dict[str, Any]) -> Iterable[str]:
    moments = content["moments"]
    yield "## What happens"
    yield from ("", "| situation | scenes | vision-critical |", "|---|---|---|")
    for name, count in content["situations"].items():
        yield f"| {name} | {count} | {moments['by_situation'][name]:.0%} |"
    yield from ("", "| weather | scenes |", "|---|---|")
    yield from (f"| {name} | {count} |" for name, count in content["weathers"].items())
    yield from ("", "| hour | scenes |", "|---|---|")
    yield from (f"| {name} | {count} |" for name, count in content["hours"].items())
    yield from (
        "",
        f"Scenes with the sun below the horizon: {content['night']}. Scenes with a misleading instruction, not to",
    )
    yield f"be followed: {content['misleading']}."
    yield from ("", "## What it asks of a driver", "", _share_text(content), "", "Decisions, share of all moments:", "")
    shares = moments["decisions"]
    yield "| axis | decision | " + " | ".join(shares) + " |"
    yield "|---|---|" + "---|" * len(shares)
    for axis, names in (("lateral", LATERAL), ("longitudinal", LONGITUDINAL)):
        for name in names:
            yield f"| {axis} | {name} | " + " | ".join(f"{row[name]:.1%}" for row in shares.values()) + " |"
    yield ""


def _share_text(content: dict[str, Any]) -> str:
    moments, mix = content["moments"], content["request"]["mix"]
    text = (
        f"{moments['critical_share']:.1%} of {moments['count']} moments (two per second, where 3 s follow) are "
        f"vision-critical: speed and yaw rate held constant would miss the driven path by more than "
        f"{moments['critical_gap_m']:g} m on average over 3 s."
    )
    if mix is None:
        return f"{text} Situations in turn, no mix."
    limits = MIXES[mix]
    bound = f"at least {limits.lowest:.0%}" if limits.lowest else f"at most {limits.highest:.0%}"
    return f"{text} The mix '{mix}' promises {bound}."


def _limits(content: dict[str, Any]) -> Iterable[str]:
    yield "## Limits"
    yield ""
    yield "Simulated throughout: procedural roads and bodies, drivers by rule, flat ground, pictures by a small ray caster."
    yield "Nothing here was recorded, and nothing measured on it is evidence of road safety. A research tool."
    yield ""
    yield f"Licence: {content['licence']}."
    yield ""
