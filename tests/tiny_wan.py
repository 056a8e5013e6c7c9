"""A tiny Wan with random weights, written to disk by diffusers and transformers themselves."""

from pathlib import Path

import torch


def write_tiny_wan(folder: Path, *, shards: bool = False, patched: bool = False, text_dim: int = 16) -> Path:
    """A pipeline folder of a Wan of 2 layers; `patched` has Wan 2.2 5B's autoencoder, `shards` several weight files."""
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    channels = 4
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=channels,
        dim_mult=[1, 1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[0.5, 0.6, 0.4, 0.7],
        **({"patch_size": 2, "in_channels": 12, "out_channels": 12, "is_residual": True} if patched else {}),
        **({"scale_factor_spatial": 16, "decoder_base_dim": 8} if patched else {}),
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=channels,
        out_channels=channels,
        text_dim=text_dim,
        freq_dim=32,
        ffn_dim=64,
        num_layers=2,
        rope_max_seq_len=64,
    )
    text = UMT5EncoderModel(
        UMT5Config(
            vocab_size=32, d_model=text_dim, d_kv=8, d_ff=32, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
        )
    )
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, num_train_timesteps=1000
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_word_tokenizer(), pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    pipeline = WanPipeline(
        vae=vae, transformer=transformer, text_encoder=text, tokenizer=tokenizer, scheduler=scheduler
    )
    pipeline.save_pretrained(folder, max_shard_size="40KB" if shards else "10GB")
    return folder


def _word_tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    words = ["<pad>", "</s>", "<unk>", "turn", "left", "right", "go", "straight", "stop", "rain"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer
