"""Wan's own text features: UMT5 through transformers, padded with zeros as in Wan's training."""

import html
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worldmodel.backbones.files import WanFiles
from worldmodel.errors import BadCheckpoint

TEXT_TOKENS = 512


class Umt5TextEncoder:
    """Token features of the frozen text encoder in a Wan folder; results are kept on the CPU, by text.

    Raises:
        BadCheckpoint: if it or its tokenizer cannot be loaded.
    """

    def __init__(self, files: WanFiles, dtype: torch.dtype = torch.float32) -> None:
        from transformers import AutoTokenizer, UMT5EncoderModel, logging

        logging.disable_progress_bar()
        self.name = f"wan:{files.root.name}"
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(files.root / "tokenizer"))
            self._model: Any = UMT5EncoderModel.from_pretrained(
                str(files.root / "text_encoder"), use_safetensors=True, dtype=dtype
            ).eval()
        except (OSError, ValueError) as error:
            raise BadCheckpoint(
                f"the text encoder of '{files.root}' cannot be loaded ({error}). The folders text_encoder and tokenizer of "
                "diffusers' form are needed, with safetensors. Download or copy the folder again."
            ) from error
        self.width = int(self._model.config.d_model)
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def features(self, text: str) -> Tensor:
        """Features of the text's own tokens [n, width], float32, at most TEXT_TOKENS of them."""
        if text not in self._known:
            clean = " ".join(html.unescape(html.unescape(text)).split())
            tokens = self._tokenizer([clean], truncation=True, max_length=TEXT_TOKENS, return_tensors="pt")
            hidden = self._model(tokens["input_ids"], tokens["attention_mask"]).last_hidden_state
            self._known[text] = hidden[0].float()
        return self._known[text]

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Features [n, TEXT_TOKENS, width] float32 and which tokens are real [n, TEXT_TOKENS] bool, on the CPU."""
        features = torch.zeros(len(texts), TEXT_TOKENS, self.width)
        valid = torch.zeros(len(texts), TEXT_TOKENS, dtype=torch.bool)
        for row, text in enumerate(texts):
            found = self.features(text)
            features[row, : len(found)], valid[row, : len(found)] = found, True
        return features, valid
