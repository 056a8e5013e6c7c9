"""The model card that training writes beside a planner's weights."""

from collections.abc import Mapping

from policy.planner_config import PlannerConfig
from worldmodel.training.cards import run_line
from worldmodel.training.task import TrainingResult

SEES = {
    "ego-only": "Reads ego status and instruction, never a pixel: what can be known without looking.",
    "direct": "Pixels, ego status and instruction into one head; says the plan at once.",
    "ik": "Predicts what will be seen at 1, 2 and 3 s; a diffusion network turns what is and will be seen, and nothing else, into the plan.",
    "ik-current": "Ablation of 'ik': the present picture is reconstructed in the place of the ones to come.",
    "ik-pooled": "Ablation of 'ik': a pooling head says the plan at once in the place of the diffusion.",
    "refiner": "Decides, plans coarsely with a route, and refines that in two steps of denoising.",
}


def planner_card(
    config: PlannerConfig,
    result: TrainingResult,
    *,
    share: float,
    examples: int,
    drives: int,
    parameters: int,
    scores: Mapping[str, tuple[float, float]],
) -> str:
    """The card in Markdown: what it is, what it was trained on and how, how good it is, and what it is not for."""
    lines = [
        f"# Detour planner '{config.label}', mix {config.mix}",
        "",
        SEES[config.kind],
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {parameters / 1e6:.2f} M, stored in bfloat16 |",
        f"| sees | {_sees(config)} |",
        f"| data | {examples} moments of {drives} drives, {share:.0%} of them vision-critical; nothing stitched |",
        f"| training | {run_line(result)} |",
        *([f"| plan's loss reaches the predictor | {'yes' if config.joint else 'no'} |"] if _predicts(config) else []),
    ]
    if config.shuffled:
        lines += ["", "A control: trained with the pictures of other scenes, so that it cannot have learned to look."]
    if scores:
        lines += [
            "",
            "Drives of the same data that were held out, over 4 s:",
            "",
            "| | ADE m | FDE m |",
            "|---|---|---|",
        ]
        lines += [f"| {name} | {ade:.2f} | {fde:.2f} |" for name, (ade, fde) in scores.items()]
    limits = "A research tool: no evidence of road safety. It was trained on the data above alone."
    return "\n".join([*lines, "", "## Limits", "", limits, ""])


def _predicts(config: PlannerConfig) -> bool:
    return config.kind.startswith("ik")


def _sees(config: PlannerConfig) -> str:
    if not config.needs_pixels:
        return "half a second of ego steps, the instruction"
    return (
        f"{config.cameras} cameras at {config.frequency_hz:g} Hz through tokenizer {config.tokenizer}, pictures of now, 0.25 s and "
        "0.5 s ago; half a second of ego steps; the instruction"
    )
