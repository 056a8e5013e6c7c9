"""Presets: named sizes and recipes. `test` trains in seconds, `town-mini` on two CPU cores, `town` and `wan-1.3b` on one GPU."""

from dataclasses import dataclass, field, replace

from worldmodel.backbones.config import WanTokenizerConfig
from worldmodel.config import WorldModelConfig
from worldmodel.errors import UnknownName
from worldmodel.sequence import NetworkConfig
from worldmodel.tokenizer import TokenizerConfig

TRAINING_MIX = (
    "street",
    "intersection",
    "curvy",
    "stop_and_go",
    "traffic_light",
    "parked_car",
    "highway",
    "pedestrian",
    "roundabout",
    "slow_truck",
    "intersection",
    "double_parking",
    "empty_road",
    "cyclist",
    "traffic_light",
    "road_works",
    "curvy",
    "merge",
    "stop_and_go",
    "cut_in",
    "roundabout",
    "oncoming_overtaker",
    "hidden_obstacle",
    "exit",
)


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Shares of the training modes; each sample of a batch draws one. They sum to 1.

    Attributes:
        joint: Video and steps denoised together, independent times.
        steps_given: Steps known, video denoised.
        video_absent: Steps and plan without video.
        video_given: Video known, steps denoised; in half of these the past steps are withheld.
    """

    joint: float = 0.4
    steps_given: float = 0.2
    video_absent: float = 0.2
    video_given: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything that fixes a training run but its data and its length.

    Attributes:
        model: Sizes of the world model.
        backbone: Hub id of the pretrained video model it stands on (`worldmodel.backbones`); '' for our own network.
        low_rank: Rank of the low-rank updates of the backbone's blocks.
        scenes: Town scenes rendered when no dataset is named.
        situations: Their situations, in turn; a repeated name weighs more. Turns and stops are rare in plain rotation.
        mix: 'natural' or 'rich' (`worldmodel.town.mixes`) chooses among their scenes; None takes them as they come.
        wander: Share of the scenes in which the ego wanders, so that the steps it is given matter.
        video_s, scene_s: Seconds of each scene that are rendered, and that are simulated (plans look 4 s ahead).
        batch_frames: Pictures per tokenizer step.
        batch_clips: Clips per network step.
        chunks, horizon_chunks: Chunks per clip in stages 2 and 3; the first is history only.
        tokenizer_rate, network_rate, distill_rate: Peak learning rates.
        modes: Training modes.
        steps_weight, plan_weight: Weights of the steps' and the plan's loss beside the video's.
        text_drop: Share of samples that train without any text.
        hint_share, description_share: Of the others, those that hear the town's hints of each chunk, or weather, light and
            place, instead of what the driver is told; in stores that have such words.
        own_history: Share of stage 3 batches whose history is the model's own.
        guided_share: Share of stage 4 samples that learn guidance scales as inputs; 0 makes a model that takes none.
        ema_decay: Of the averaged weights.
        tokenizer_steps, single_steps, chunk_steps, horizon_steps, distill_steps: Default lengths.
    """

    name: str
    model: WorldModelConfig
    backbone: str = ""
    low_rank: int = 0
    scenes: int = 720
    situations: tuple[str, ...] = TRAINING_MIX
    mix: str | None = None
    wander: float = 0.4
    video_s: float = 4.0
    scene_s: float = 8.0
    batch_frames: int = 24
    batch_clips: int = 8
    chunks: int = 5
    horizon_chunks: int = 8
    tokenizer_rate: float = 1e-3
    network_rate: float = 2e-3
    distill_rate: float = 1e-4
    guided_share: float = 0.25
    ema_decay: float = 0.998
    modes: Modes = field(default_factory=Modes)
    steps_weight: float = 0.3
    plan_weight: float = 0.3
    text_drop: float = 0.15
    hint_share: float = 0.3
    description_share: float = 0.1
    own_history: float = 0.5
    tokenizer_steps: int = 3000
    single_steps: int = 300
    chunk_steps: int = 3000
    horizon_steps: int = 500
    distill_steps: int = 500


def test() -> Preset:
    """Tiny: trains in seconds, inside tests."""
    tokenizer = TokenizerConfig(channels=4, widths=(8, 16, 16), blocks=(1, 1, 1))
    network = NetworkConfig(
        latent_channels=4,
        latent_height=2,
        latent_width=4,
        width=32,
        action_width=32,
        guidance_width=16,
        layers=2,
        heads=2,
        head_size=16,
        mlp_ratio=2,
        adaln_rank=8,
        text_width=32,
    )
    model = WorldModelConfig(preset="test", tokenizer=tokenizer, network=network, text_encoder="hash-32")
    return Preset(
        name="test",
        model=model,
        scenes=4,
        video_s=3.0,
        scene_s=7.0,
        batch_frames=4,
        batch_clips=2,
        chunks=3,
        horizon_chunks=4,
        tokenizer_steps=4,
        single_steps=2,
        chunk_steps=4,
        horizon_steps=2,
        distill_steps=2,
    )


def town_mini() -> Preset:
    """For two CPU cores: three cameras of 64x128, about 5 M parameters in the network."""
    return Preset(
        name="town-mini",
        model=WorldModelConfig(preset="town-mini"),
        modes=Modes(joint=0.08, steps_given=0.6, video_absent=0.12, video_given=0.2),
        batch_clips=4,
        horizon_chunks=5,
        tokenizer_steps=6000,
        single_steps=800,
    )


def town() -> Preset:
    """For one GPU: three cameras of 128x224, about 12 M parameters in the network."""
    network = NetworkConfig(
        latent_height=8, latent_width=14, width=320, action_width=128, guidance_width=96, layers=8, heads=10
    )
    model = WorldModelConfig(preset="town", network=replace(network, oldest_frames=32))
    return Preset(
        name="town",
        model=model,
        scenes=8000,
        batch_frames=96,
        batch_clips=32,
        network_rate=1e-3,
        tokenizer_steps=20000,
        single_steps=5000,
        chunk_steps=60000,
        horizon_steps=15000,
        distill_rate=1e-4,
        ema_decay=0.9995,
        distill_steps=10000,
    )


def wan_1_3b() -> Preset:
    """For one GPU of 24 GB and more: Wan 2.1 1.3B, pretrained, taught to drive by additions and low-rank updates.

    Three cameras of 256x448, so that a chunk has as many tokens as a picture of Wan's own size (`docs/backbones.md`).
    """
    network = NetworkConfig(
        latent_height=32,
        latent_width=56,
        width=1536,
        action_width=256,
        layers=30,
        heads=12,
        head_size=128,
        text_width=4096,
    )
    model = WorldModelConfig(
        preset="wan-1.3b", tokenizer=WanTokenizerConfig(), network=network, text_encoder="umt5", video_shift=3.0
    )
    return Preset(
        name="wan-1.3b",
        model=model,
        backbone="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        low_rank=32,
        scenes=2000,
        batch_clips=2,
        network_rate=1e-4,
        modes=Modes(joint=0.15, steps_given=0.5, video_absent=0.15, video_given=0.2),
        chunk_steps=20000,
        horizon_steps=5000,
        ema_decay=0.9995,
    )


def wan_5b() -> Preset:
    """For one GPU of 32 GB and more: Wan 2.2 5B, whose autoencoder makes a quarter of the tokens; else as `wan_1_3b`."""
    small = wan_1_3b()
    network = replace(small.model.network, latent_channels=48, latent_height=16, latent_width=28, width=3072, heads=24)
    model = replace(
        small.model,
        preset="wan-5b",
        tokenizer=WanTokenizerConfig(stride=16, channels=48),
        network=network,
        video_shift=5.0,
    )
    return replace(small, name="wan-5b", model=model, backbone="Wan-AI/Wan2.2-TI2V-5B-Diffusers")


PRESETS = {"test": test, "town-mini": town_mini, "town": town, "wan-1.3b": wan_1_3b, "wan-5b": wan_5b}


def find_preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        UnknownName: with the closest name.
    """
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return PRESETS[name]()
