"""Vision-language models of a few thousand random parameters, written to disk as any other checkpoint of transformers."""

import torch

WORDS = ("turn", "left", "or", "right", "slow", "down", "stop", "the", "light", "is", "red")
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def word_tokenizer(*marks):
    """A vocabulary of a few words, and marks of pictures from number 4 on."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    known = {word: i for i, word in enumerate([*names.values(), *marks, *WORDS])}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, additional_special_tokens=list(marks), **names)


def write_vlm(folder, template=TEMPLATE):
    """A Llava of 16 features with random weights."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = word_tokenizer("<image>")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = CLIPVisionConfig(image_size=16, patch_size=8, projection_dim=16, **sizes)
    text = LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, bos_token_id=2, eos_token_id=3, **sizes)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=4, vision_feature_layer=-1)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        model = LlavaForConditionalGeneration(config)
        for name, parameter in model.named_parameters():
            parameter.data.normal_(0, 0.02 if "embed_tokens" in name else 1.0)  # pictures weigh more than words
    model.save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    LlavaProcessor(
        pictures, tokenizer, patch_size=8, vision_feature_select_strategy="default", chat_template=template,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_other_vlm(folder):
    """A Qwen2-VL of 16 features: pictures of any size, other marks, other positions."""
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = word_tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "rope_parameters": rope, "eos_token_id": 3, **sizes}
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 1, "patch_size": 4}
    marks = {"image_token_id": 4, "video_token_id": 5, "vision_start_token_id": 6, "vision_end_token_id": 7}
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **marks))
    model.save_pretrained(folder)
    template = TEMPLATE.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    pictures = Qwen2VLImageProcessor(patch_size=4, merge_size=2, min_pixels=64, max_pixels=4096)
    videos = Qwen2VLVideoProcessor(patch_size=4, merge_size=2)
    Qwen2VLProcessor(pictures, tokenizer, videos, chat_template=template).save_pretrained(folder)
    return folder
