"""A peer of equal size, run the way peers run: a video diffusion transformer over a sliding window, without a cache.

Source: diffusers' `WanTransformer3DModel` with our width, depth, heads and latents. Its weights are random: how long it takes
does not depend on them. Cameras stand side by side in one wide picture, as multi-view models on a single-view backbone do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

MAX_TEXT_TOKENS = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Peer:
    """The other model.

    Attributes:
        network: A `WanTransformer3DModel`.
        chunk: Denoises one chunk in so many steps; every step reads the whole window anew.
        parameters: How many it has.
        window_frames: Frames of history and chunk that a step reads.
    """

    network: Any
    chunk: Callable[[int], object]
    parameters: int
    window_frames: int


def make_peer(model: "WorldModel") -> Peer:
    """A peer of the model's width and depth, with as much history as the model was trained with."""
    import torch
    from diffusers import WanTransformer3DModel

    config = model.config.network
    network = WanTransformer3DModel(
        patch_size=(1, config.patch, config.patch),
        num_attention_heads=config.heads,
        attention_head_dim=config.head_size,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        text_dim=config.text_width,
        ffn_dim=config.mlp_ratio * config.width,
        num_layers=config.layers,
    )
    network = network.to(model.device).eval()
    frames = (model.config.history_chunks + 1) * model.per_chunk
    shape = (1, config.latent_channels, frames, config.latent_height, config.latent_width * model.config.cameras)
    window = torch.zeros(shape, device=model.device)
    text = torch.zeros(1, MAX_TEXT_TOKENS, config.text_width, device=model.device)

    @torch.no_grad()
    def chunk(steps: int) -> object:
        state = window
        for step in range(steps):
            time = torch.full((1,), 1000.0 * (1 - step / steps), device=model.device)
            velocity = network(state, timestep=time, encoder_hidden_states=text, return_dict=False)[0]
            state = state - velocity / steps
        return model.tokenizer.decode_video(_chunk_pictures(state, model))

    count = sum(parameter.numel() for parameter in network.parameters())
    return Peer(network=network, chunk=chunk, parameters=count, window_frames=frames)


def _chunk_pictures(state: Any, model: "WorldModel") -> Any:
    """Latents [frames, cameras, channels, h, w] of the newest chunk of a wide window."""
    newest = state[0, :, -model.per_chunk :]
    return newest.unflatten(-1, (model.config.cameras, -1)).permute(1, 3, 0, 2, 4)
