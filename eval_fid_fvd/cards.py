"""A score is an object: its value, how sure it is, and the card that says how it was made.

Two numbers with one name are not comparable when the network, the resize rule, the number of clips or frames, the
condition frames, or anything else on the card differs. `check_comparable` refuses such a pair and shows the lines.
"""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from worldmodel.errors import BadRequest, BadTable


@dataclass(frozen=True, kw_only=True)
class MetricCard:
    """How a number was made. Lines that do not apply say 'none'.

    Attributes:
        metric: 'FID', 'FD', 'FVD', 'KID', 'KD', 'KVD', 'PSNR', 'SSIM', ...
        network: Name of the feature network, or 'none'.
        network_hash: Hash of its weights.
        layer: Layer the features come from.
        resize: How frames were brought to the network's size.
        value_range: What the network or formula was fed.
        frames: Frames per clip that were scored.
        frames_rule: What the network does with the frames of a clip.
        frequency_hz: Frames per second; None when the input does not say.
        condition_frames: Frames at the start of each clip that the model was given.
        condition_rule: What becomes of them: 'left out', or 'scored with the others'.
        cameras: How many cameras, and whether they are pooled.
        part: What the number is about if not about everything: 'camera front', '1-2 s'; '' for everything.
        size: Width x height of the frames scored.
        conversion: How frames were resized or thinned before that, on which side.
        codec: How frames were stored on both sides, such as 'arrays' or 'mp4'.
        pairing: Whether clips of equal names stand beside each other, or the two sides are just two sets.
        reference: Which clips the second side is: how many, and a hash of their pixels.
        preset: Whose way of counting this follows, or 'none'.
        rule: What the formula does where implementations differ (average of dB, order of resizing, ...).
        covariance: How covariances are taken, or 'none'.
        device: Where the network ran.
        interval_rule: What the interval means.
        floor_rule: What the real-against-real number means.
        notes: Warnings, such as fewer samples than dimensions; not part of the comparison.
    """

    metric: str
    network: str = "none"
    network_hash: str = "none"
    layer: str = "none"
    resize: str = "none"
    value_range: str = "none"
    frames: int
    frames_rule: str = "none"
    frequency_hz: float | None
    condition_frames: int
    condition_rule: str = "left out"
    cameras: str
    part: str = ""
    size: str
    conversion: str = "none"
    codec: str
    pairing: str = "by name"
    reference: str = "none"
    preset: str = "none"
    rule: str
    covariance: str = "none"
    device: str
    interval_rule: str
    floor_rule: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name to print: metric, network, part, such as 'FVD[i3d-k400] camera front'; 'PSNR' where that is all."""
        whole = self.metric if self.network == "none" else f"{self.metric}[{self.network}]"
        return f"{whole} {self.part}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number and everything needed to read it.

    Attributes:
        value: The number; finite.
        interval: Lower and upper end, or None where no interval was made.
        n_a: Samples on the first side (frames or clips, cameras pooled).
        n_b: Samples on the second side.
        floor: The same formula on real against real, or None.
        card: How it was made.
    """

    value: float
    interval: tuple[float, float] | None
    n_a: int
    n_b: int
    floor: float | None
    card: MetricCard

    def __post_init__(self) -> None:
        numbers = [self.value, *(self.interval or ()), *([] if self.floor is None else [self.floor])]
        if not all(math.isfinite(number) for number in numbers):
            raise BadRequest(
                f"{self.name} is {self.value}, interval {self.interval}, floor {self.floor}; all must be finite. A "
                "number that is not defined is left out and said so, never stored."
            )

    @property
    def name(self) -> str:
        """The card's name: metric and network."""
        return self.card.name

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; `from_json` is the inverse."""
        return {"name": self.name, **json.loads(json.dumps(asdict(self)))}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Score":
        """A score from `to_json`'s data.

        Raises:
            BadTable: for missing or unknown keys, or a name that its card does not bear out.
        """
        known = {field.name for field in fields(cls)} | {"name"}
        _check_keys("score", data, known, known)
        card = _card_from_json(data["card"])
        if data["name"] != card.name:
            raise BadTable(f"a score is named '{data['name']}', but its card says '{card.name}'. Score again.")
        interval = None if data["interval"] is None else (data["interval"][0], data["interval"][1])
        return cls(
            value=data["value"], interval=interval, n_a=data["n_a"], n_b=data["n_b"], floor=data["floor"], card=card
        )


def differences(a: Score, b: Score) -> tuple[str, ...]:
    """The lines in which two scores' cards (and sample counts) differ; empty when they may be compared."""
    rows_a, rows_b = _comparable_lines(a), _comparable_lines(b)
    return tuple(f"{key}: {rows_a[key]} against {rows_b[key]}" for key in rows_a if rows_a[key] != rows_b[key])


def check_comparable(a: Score, b: Score) -> None:
    """Refuse to compare scores that were made differently.

    Raises:
        BadRequest: with every line that differs.
    """
    if lines := differences(a, b):
        raise BadRequest(
            f"{a.name} = {a.value:g} and {b.name} = {b.value:g} cannot be compared; their cards must be alike, but "
            f"differ in:\n  " + "\n  ".join(lines) + "\nScore both in the same way first."
        )


def metric_name(metric: str, network: str) -> str:
    """The printed metric: plain 'FID' only with its published network, 'FD' with another; 'FVD' names its network.

    >>> metric_name("fid", "inception-2015"), metric_name("fid", "tokenizer-1a2b3c4d")
    ('FID', 'FD')
    >>> metric_name("kid", "inception-2015"), metric_name("kid", "tokenizer-1a2b3c4d")
    ('KID', 'KD')
    """
    other = {"fid": "FD", "kid": "KD", "fid_inf": "FD_INF"}
    return other[metric] if metric in other and network != "inception-2015" else metric.upper()


def _comparable_lines(score: Score) -> dict[str, Any]:
    card = asdict(score.card)
    del card["notes"]
    return {**card, "n_a": score.n_a, "n_b": score.n_b}


def _card_from_json(data: dict[str, Any]) -> MetricCard:
    known = {field.name for field in fields(MetricCard)}
    _check_keys("card", data, known, known)
    return MetricCard(**{**data, "notes": tuple(data["notes"])})


def _check_keys(what: str, data: dict[str, Any], known: set[str], needed: set[str]) -> None:
    missing, unknown = sorted(needed - data.keys()), sorted(data.keys() - known)
    if missing or unknown:
        raise BadTable(
            f"a {what} lacks {', '.join(missing) or 'nothing'} and has unknown {', '.join(unknown) or 'nothing'}; it "
            "must hold exactly what `Score.to_json` writes. Write it again with this version."
        )
