"""A frozen vision-language model as a guide: it looks at the newest chunk and says in a few words what to do next."""

import hashlib
import re
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from PIL import Image

from worldmodel.errors import BadCheckpoint, BadRequest
from worldmodel.geometry import Array, Rig
from worldmodel.guidance import GuideContext
from worldmodel.plans import Observation

MAX_WORDS = 14  # the text encoder reads 16 tokens, two of which are marks
MAX_CHARACTERS = 120
MAX_NEW_TOKENS = 32
CACHE_SIZE = 256
QUESTION = (
    "You are driving a car. {pictures} {speed}{told}"
    "In one short sentence of at most twelve words, say what you do next and why, "
    "such as: slow down, the light is red."
)


class VlmGuide:
    """Asks an image-text-to-text model of transformers before each chunk; greedy, so the same chunk gets the same words.

    Weights are read from safetensors only, and no code that comes with a model is run. Answers are cached.

    Args:
        model_id: A hub id ('owner/name', or 'owner/name@revision' to pin one) or a local folder.
        frames: Pictures of a chunk that are shown, evenly spread, the newest always among them.
        every: Chunks per question; in between, the last text goes on.
        device, dtype: Where and how the model runs.
    Raises:
        BadCheckpoint: if it cannot be loaded, lacks weights, or is no such model.
        BadRequest: for no frames or no chunks.
    """

    def __init__(
        self,
        model_id: str,
        *,
        frames: int = 2,
        every: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if frames < 1 or every < 1:
            raise BadRequest(f"{frames} frames every {every} chunks were asked for; both must be at least 1.")
        self.model_id, self.frames, self.every = model_id, frames, every
        self._processor, self._model = _loaded(model_id, dtype)
        self._model.to(device)
        self._device, self._dtype = device, dtype
        self._cache: OrderedDict[str, str] = OrderedDict()

    def hint(self, context: GuideContext) -> str:
        """One short sentence about the newest chunk; what the driver was told, where the model says nothing."""
        if context.chunk % self.every and context.texts:
            return context.texts[-1]
        question = question_about(context.observation)
        key = hashlib.sha256(context.observation.video.tobytes() + question.encode()).hexdigest()
        if key not in self._cache:
            shown = pictures_of(context.observation, self.frames)
            self._cache[key] = one_sentence(self._answer(question, shown))
        self._cache.move_to_end(key)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return self._cache[key] or context.observation.instruction

    @torch.no_grad()
    def _answer(self, question: str, pictures: list[Image.Image]) -> str:
        prompt = _prompt(self._processor, question, len(pictures))
        start = getattr(self._processor.tokenizer, "bos_token", None)
        marked = start is not None and prompt.startswith(start)
        inputs = self._processor(text=prompt, images=pictures, return_tensors="pt", add_special_tokens=not marked).to(
            self._device, self._dtype
        )
        given = inputs["input_ids"]
        written = self._model.generate(**inputs)
        repeats = written.shape[1] >= given.shape[1] and bool((written[:, : given.shape[1]] == given).all())
        new = written[:, given.shape[1] :] if repeats else written
        text: str = self._processor.batch_decode(new, skip_special_tokens=True)[0]
        return text


def _loaded(model_id: str, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor, logging

    logging.disable_progress_bar()
    name, _, revision = model_id.partition("@")
    safe: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
    try:
        processor = AutoProcessor.from_pretrained(name, **safe)
        model, found = AutoModelForImageTextToText.from_pretrained(
            name, dtype=dtype, use_safetensors=True, output_loading_info=True, **safe
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise BadCheckpoint(
            f"the vision-language model '{model_id}' cannot be loaded ({str(error)[:300]}). It must be an image-text-to-text "
            "model of transformers with safetensors weights, as a hub id or a local folder. Check name and connection."
        ) from error
    if found["missing_keys"]:
        raise BadCheckpoint(
            f"the vision-language model '{model_id}' lacks {len(found['missing_keys'])} tensors, such as "
            f"{sorted(found['missing_keys'])[0]}. Use a complete checkpoint."
        )
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise BadCheckpoint(f"'{model_id}' has no processor for pictures and text. Name an image-text-to-text model.")
    _make_greedy(model, processor)
    return processor, model.eval().requires_grad_(False)


def _make_greedy(model: Any, processor: Any) -> None:
    config = model.generation_config
    config.do_sample, config.num_beams, config.max_new_tokens = False, 1, MAX_NEW_TOKENS
    config.max_length = config.temperature = config.top_p = config.top_k = None
    if config.pad_token_id is None:
        config.pad_token_id = next(
            (one for one in (processor.tokenizer.pad_token_id, processor.tokenizer.eos_token_id) if one is not None), 0
        )


def _prompt(processor: Any, question: str, pictures: int) -> str:
    """The question as the model's own chat, or after its picture marks where it has no chat template."""
    if (
        getattr(processor, "chat_template", None) is None
        and getattr(processor.tokenizer, "chat_template", None) is None
    ):
        mark = getattr(processor, "image_token", "")
        return f"{(mark if isinstance(mark, str) else mark.content) * pictures}{question}"
    content = [*({"type": "image"} for _ in range(pictures)), {"type": "text", "text": question}]
    messages = [{"role": "user", "content": content}]
    chat: str = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return chat


def question_about(observation: Observation) -> str:
    """What the model is asked: with the speed, where it is known, and what the driver was told."""
    seconds = len(observation.video) / observation.frequency_hz
    names = "camera" if len(observation.rig) == 1 else f"{len(observation.rig)} cameras, from left to right,"
    pictures = f"The pictures show what its {names} saw in the last {seconds:g} seconds, the oldest first."
    speed = observation.speed_mps
    moving = "" if speed is None else f"You drive at {max(speed, 0.0):.0f} metres per second. "
    told = re.sub(r"[<>\[\]{}|]", "", observation.instruction)  # marks of pictures and roles are not for drivers
    return QUESTION.format(pictures=pictures, speed=moving, told=f"You were told: {told}. " if told else "")


def pictures_of(observation: Observation, frames: int) -> list[Image.Image]:
    """Some moments of an observation, evenly spread up to the newest, each with its cameras side by side from left to right."""
    count = len(observation.video)
    chosen = np.unique(np.linspace(count - 1, 0, min(frames, count)).round().astype(int))
    if frames == 1:
        chosen = np.array([count - 1])
    order = _from_left_to_right(observation.rig)
    rows: list[Array] = [np.concatenate(list(observation.video[i, order]), axis=-1) for i in chosen]
    return [Image.fromarray(np.ascontiguousarray(row.transpose(1, 2, 0))) for row in rows]


def _from_left_to_right(rig: Rig) -> list[int]:
    ahead = np.array([camera.ego_from_camera[:2, 2] for camera in rig.cameras])
    return [int(i) for i in np.argsort(-np.arctan2(ahead[:, 1], ahead[:, 0]), kind="stable")]


def one_sentence(answer: str) -> str:
    """The first sentence of an answer: printable, without its full stop, at most MAX_WORDS words; '' if there is none."""
    lines = ["".join(c if c.isprintable() else " " for c in line).strip() for line in answer.splitlines()]
    first = next((line for line in lines if re.search(r"\w", line)), "")
    sentence = re.split(r"(?<=\w)[.!?]['\")]*(?:\s|$)", first, maxsplit=1)[0]
    words: list[str] = []
    for word in sentence.split()[:MAX_WORDS]:
        if len(" ".join([*words, word])) > MAX_CHARACTERS:
            break
        words.append(word)
    return " ".join(words).strip(" \"'`*#-.,;:")
