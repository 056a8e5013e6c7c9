"""What a world model on a pretrained video backbone is: the backbone it needs, and what was added to it."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadCheckpoint
from worldmodel.tokenizer import TokenizerConfig

TRAINED = ("additions", "low-rank", "all")


@dataclass(frozen=True, kw_only=True)
class WanTokenizerConfig(TokenizerConfig):
    """Stride and channels of Wan's autoencoder; its inner sizes stand in the backbone's own config.

    Attributes:
        stride: Pixels per latent cell and side: 8 (Wan 2.1) or 16 (Wan 2.2 5B).
        channels: Latent channels.
    """

    stride: int = 8
    channels: int = 16
    widths: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.stride < 1 or self.channels < 1:
            raise BadCheckpoint(
                f"the autoencoder's stride is {self.stride} and it has {self.channels} channels; both must be positive. "
                "Use an unmodified checkpoint."
            )


@dataclass(frozen=True, kw_only=True)
class WanModelConfig(WorldModelConfig):
    """A world model's config, and which backbone it stands on.

    Attributes:
        backbone: Folder or hub id of the pretrained weights, in diffusers' form.
        fingerprint: Of those weights (`WanFiles.fingerprint`), so that additions never meet other ones.
        trained: What the checkpoint holds beside the backbone: 'additions' (motion, cameras, plans), 'low-rank' (and
            low-rank updates of the blocks), 'all' (and every weight of the transformer).
        low_rank: Rank of the updates.
    """

    tokenizer: TokenizerConfig = field(default_factory=WanTokenizerConfig)
    backbone: str = ""
    fingerprint: str = ""
    trained: str = "additions"
    low_rank: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trained not in TRAINED or self.low_rank < 0 or (self.trained == "low-rank") != (self.low_rank > 0):
            raise BadCheckpoint(
                f"trained is '{self.trained}' with low_rank {self.low_rank}; it must be one of {', '.join(TRAINED)}, and a "
                "rank above 0 goes with 'low-rank' alone. Correct config.json."
            )

    @staticmethod
    def from_json(data: dict[str, Any]) -> "WanModelConfig":
        """The config of a checkpoint's config.json.

        Raises:
            BadCheckpoint: if a field is unknown or missing.
        """
        own = {name: data[name] for name in ("backbone", "fingerprint", "trained", "low_rank") if name in data}
        try:
            tokenizer = WanTokenizerConfig(stride=data["tokenizer"]["stride"], channels=data["tokenizer"]["channels"])
        except (KeyError, TypeError) as error:
            raise BadCheckpoint(f"config.json of the checkpoint does not fit this version: {error}.") from error
        stand_in = asdict(TokenizerConfig(channels=tokenizer.channels))
        rest = WorldModelConfig.from_json(
            {**{name: value for name, value in data.items() if name not in own}, "tokenizer": stand_in}
        )
        shared: dict[str, Any] = {one.name: getattr(rest, one.name) for one in fields(rest)}
        return WanModelConfig(**(shared | own | {"tokenizer": tokenizer}))
