"""A pair: one planner, one seed, one moment; with and without one edit. Every difference is the edit's doing."""

from dataclasses import dataclass, replace

from jaxtyping import Float

from policy.planner import Planner
from studio.sprites import Sprite
from studio.stitch import StitchedClip, stitch
from worldmodel.clips import Clip, Instruction
from worldmodel.edits import ChangeInstruction, Edit, StitchSprite
from worldmodel.errors import BadEdit
from worldmodel.geometry import Array
from worldmodel.plans import Plan, Response


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """What one planner drives with and without an edit.

    Attributes:
        planner: Its name.
        seed: Shared by both plans.
        edit: What differs.
        factual, edited: The two plans, in the ego frame of the same moment.
        response: How the plan moved.
        stitched: The edited clip with masks; None when the edit leaves the pictures alone.
    """

    planner: str
    seed: int
    edit: Edit
    factual: Plan
    edited: Plan
    response: Response
    stitched: StitchedClip | None


@dataclass(frozen=True, eq=False, kw_only=True)
class EditedClip:
    """A clip after an edit; `stitched` when the edit changed its pictures."""

    clip: Clip
    stitched: StitchedClip | None


def response_row(response: Response) -> dict[str, float | None]:
    """A Response as plain data, metres and seconds."""
    return {
        "path_length_change_m": response.path_length_change_m,
        "endpoint_shift_m": response.endpoint_shift_m,
        "lateral_shift_m": response.lateral_shift_m,
        "braking_onset_s": response.braking_onset_s,
    }


def apply_edit(
    clip: Clip,
    edit: Edit,
    *,
    sprite: Sprite | None = None,
    depth_m: Float[Array, "time camera height width"] | None = None,
) -> EditedClip:
    """The clip with one thing changed. Recordings can be stitched and told something else; the rest needs the town.

    Args:
        clip: The recording.
        edit: What to change.
        sprite, depth_m: As for `stitch`.
    Raises:
        BadEdit: for an edit that only a simulated scene can answer, or a sprite that no camera sees.
        UnknownName, MissingMotion, ClipTooShort: as `stitch`.
    """
    if isinstance(edit, StitchSprite):
        stitched = stitch(clip, edit, sprite=sprite, depth_m=depth_m)
        return EditedClip(clip=stitched.clip, stitched=stitched)
    if isinstance(edit, ChangeInstruction):
        said = Instruction(text=edit.text, start_s=edit.at_s)
        return EditedClip(clip=replace(clip, instructions=(*clip.instructions, said)), stitched=None)
    raise BadEdit(
        f"{type(edit).__name__} cannot be applied to a recording; it needs a town scene, where traffic can react. "
        "Use StitchSprite or ChangeInstruction, or `worldmodel.town.oracle.Oracle` with a town scene."
    )


def run_pair(
    planner: Planner,
    clip: Clip,
    edit: Edit,
    *,
    at_s: float,
    history_s: float,
    seed: int,
    sprite: Sprite | None = None,
) -> Pair:
    """Plan twice from the same moment with the same seed: without and with the edit.

    Args:
        planner: Asked twice, the factual clip first.
        clip: The recording.
        edit: A StitchSprite or ChangeInstruction.
        at_s: The moment of the plan, seconds from the clip's start.
        history_s: How much of the past the planner sees.
        seed: Of both plans.
        sprite: The object to stitch; None for the town's own of the edit's kind.

    Raises:
        BadEdit, UnknownName, MissingMotion, ClipTooShort: when the edit or the moment does not fit the clip.
    """
    edited = apply_edit(clip, edit, sprite=sprite)
    return pair_of(planner, clip, edited, edit, at_s=at_s, history_s=history_s, seed=seed)


def pair_of(
    planner: Planner, clip: Clip, edited: EditedClip, edit: Edit, *, at_s: float, history_s: float, seed: int
) -> Pair:
    """`run_pair` with the edit already applied, so that several planners share one edited clip."""
    factual = planner.plan(clip.observation(at_s, history_s), seed)
    changed = planner.plan(edited.clip.observation(at_s, history_s), seed)
    return Pair(
        planner=planner.name,
        seed=seed,
        edit=edit,
        factual=factual,
        edited=changed,
        response=Response(factual=factual, edited=changed),
        stitched=edited.stitched,
    )
