"""The planners by their names on the command line. A learned one is named by its checkpoint folder, or as shipped: 'rich/ik';
a user's own one as `policy.foreign.sources` says."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from policy.baselines import ConstantTurnRatePlanner, ConstantVelocityPlanner, StandStillPlanner
from policy.foreign.sources import is_foreign
from policy.planner import JointPlanner, Planner
from worldmodel.errors import BadRequest, UnknownName

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

Maker = Callable[["WorldModel | None", int], Planner]

DEFAULT_PLANNERS = ("joint", "constant-velocity", "constant-turn-rate")


def _joint(model: "WorldModel | None", samples: int) -> Planner:
    return JointPlanner(_needed(model, "joint"), samples)


def _imagining(model: "WorldModel | None", samples: int) -> Planner:
    from policy.imagining import ImaginingPlanner

    return ImaginingPlanner(_needed(model, "imagining"), samples)


def _needed(model: "WorldModel | None", name: str) -> "WorldModel":
    if model is None:
        raise BadRequest(f"planner '{name}' needs a world model; name a checkpoint with --model.")
    return model


PLANNERS: dict[str, Maker] = {
    "joint": _joint,
    "imagining": _imagining,
    "constant-velocity": lambda _model, _samples: ConstantVelocityPlanner(),
    "constant-turn-rate": lambda _model, _samples: ConstantTurnRatePlanner(),
    "stand-still": lambda _model, _samples: StandStillPlanner(),
}
USE_MODEL = ("joint", "imagining")  # of the names; learned planners do, too
SHIPPED = Path(__file__).resolve().parent.parent / "assets" / "planners"  # MIX/KIND


def shipped_names() -> tuple[str, ...]:
    """The learned planners that ship: 'natural/direct', 'rich/ik', ..."""
    return tuple(sorted(str(path.parent.relative_to(SHIPPED)) for path in SHIPPED.glob("*/*/config.json")))


def planner_folder(name: str) -> Path | None:
    """Where a learned planner lies: a folder of this name, or the one that ships under it; None for neither."""
    if Path(name).is_dir():
        return Path(name)
    return SHIPPED / name if name in shipped_names() else None


def check_planner(name: str, also: Iterable[str] = ()) -> None:
    """Refuse a name that is neither a planner's, nor a folder, nor that of a user's own policy.

    Args:
        also: Further names that are fine.
    Raises:
        UnknownName: with the closest name.
    """
    names = (*PLANNERS, *also)
    if name not in names and not is_foreign(name) and planner_folder(name) is None:
        raise UnknownName("planner", name, (*names, *shipped_names(), "a checkpoint folder", "a policy of your own"))


def model_for(names: Iterable[str], folder: str) -> "WorldModel | None":
    """The world model, if one of the planners needs one; of a learned planner it is the tokenizer that is needed.

    Raises:
        UnknownName, BadCheckpoint.
    """
    wanted = False
    for name in names:
        check_planner(name)
        wanted = wanted or name in USE_MODEL or not (name in PLANNERS or is_foreign(name))
    if not wanted:
        return None
    from worldmodel.model import WorldModel

    return WorldModel.from_pretrained(folder)


def make_planner(name: str, model: "WorldModel | None", samples: int = 8) -> Planner:
    """A planner by its name, from its checkpoint folder, or a user's own policy.

    Args:
        model: What the planners 'joint' and 'imagining' ask, and through whose tokenizer learned planners see.
        samples: Plans drawn per answer, by those that draw.
    Raises:
        UnknownName: with the closest name.
        BadRequest: if a world model is needed and there is none.
        BadCheckpoint: if the folder holds no planner, or one that sees through another tokenizer.
        BadPolicy: if a user's own policy cannot be started, or does not declare what its answers mean.
    """
    check_planner(name)
    if name in PLANNERS:
        return PLANNERS[name](model, samples)
    if is_foreign(name):
        from policy.foreign.planner import foreign_planner

        return foreign_planner(name)
    from policy.answers import Ask
    from policy.learned import LearnedPlanner

    folder = planner_folder(name) or Path(name)
    return LearnedPlanner.from_pretrained(folder, None if model is None else model.tokenizer, ask=Ask(samples=samples))
