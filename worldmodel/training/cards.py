"""The model card that a stage writes beside its weights."""

from collections.abc import Sequence

from worldmodel.config import WorldModelConfig
from worldmodel.training.store import Store
from worldmodel.training.task import TrainingResult


def run_line(result: TrainingResult) -> str:
    """Steps, minutes, device and loss of a training loop in one line."""
    device = result.facts.get("segments", [{}])[-1].get("device", "unknown device")
    loss = "unknown" if result.loss is None else f"{result.loss:.4f}"
    return f"{result.step} steps, {result.seconds / 60:.1f} minutes on {device}, last loss {loss}"


def model_card(config: WorldModelConfig, stores: Sequence[Store], *, curves: bool) -> str:
    """The card in Markdown: what it is, what it was trained on and how, and what it is not for.

    Args:
        curves: Whether `curves.svg` lies beside the card.
    """
    network, rate = config.network, config.frequency_hz
    lines = [
        f"# Detour world model, preset {config.preset}",
        "",
        f"{config.cameras} cameras of {config.height_px}x{config.width_px} pixels at {rate:g} Hz, chunks of "
        f"{network.frames_per_chunk} frames, up to {config.history_chunks} chunks of history in training.",
        "",
        *(f"- {stage}" for stage in config.stages),
        "",
        "Data: " + "; ".join(_data(store) for store in stores) + ".",
    ]
    if config.few_steps:
        steps = ", ".join(map(str, config.few_steps))
        lines += ["", f"Distilled: made for {steps} sampling steps (Euler); 16 and more sample as before."]
    if curves:
        lines += ["", "![Losses over the steps](curves.svg)"]
    limits = "A research tool: no evidence of road safety. It was trained on the data above alone; scores are to be measured."
    return "\n".join([*lines, "", "## Limits", "", limits, ""])


def _data(store: Store) -> str:
    made, clips = store.made_from, len(store)
    seconds = store.video.shape[1] / store.frequency_hz
    if "dataset" in made:
        return f"{clips} windows of {seconds:g} s from dataset '{made['dataset']}', {len(made['episodes'])} episodes"
    wander = made.get("wander", 0)
    return f"{clips} town scenes of {seconds:g} s, in {wander:.0%} of which the ego wanders"
