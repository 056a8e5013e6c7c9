"""Planners that say the plan at once: from ego status and instruction alone, or from these and the pictures."""

from torch import Tensor, nn

from policy.answers import Answer, Ask, Draw, Output, PlannerNetwork
from policy.blocks import ObjectScores, Points, SceneTokens
from policy.planner_config import STEPS_SEEN, WAYPOINTS, PlannerConfig
from policy.seeing import Seen


class EgoOnly(PlannerNetwork):
    """The planner 'ego-only': what can be known without looking. It reads ego status and instruction, never a pixel.

    Source: Zhai et al., "Rethinking the Open-Loop Evaluation of End-to-End Autonomous Driving in nuScenes"
    (arXiv 2305.10430), with the instruction in the place of the command.
    """

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        width = 2 * config.width
        self.ego, self.text = nn.Linear(3 * STEPS_SEEN, width), nn.Linear(config.text_width, width)
        self.mlp = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3 * WAYPOINTS))

    def forward(self, seen: Seen, draw: Draw) -> Output:
        """The plan."""
        del draw
        return Output(poses=self._plan(seen))

    def answer(self, seen: Seen, ask: Ask) -> Answer:
        """The plan; there is no noise to ask for."""
        del ask
        return Answer(poses=self._plan(seen))

    def _plan(self, seen: Seen) -> Tensor:
        told: Tensor = self.mlp(self.ego(seen.ego) + self.text(seen.text))
        return told.unflatten(-1, (WAYPOINTS, 3))


class DirectRegression(PlannerNetwork):
    """The planner 'direct': pixels, ego status and text into one head. The known shortcut learner."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.scene = SceneTokens(config)
        self.points = Points(config, WAYPOINTS)
        self.out = nn.Linear(config.width, 3)
        self.objects = ObjectScores(config)

    def forward(self, seen: Seen, draw: Draw) -> Output:
        """The plan, and where objects are."""
        del draw
        scene = self.scene(seen)
        return Output(poses=self.out(self.points(scene)), objects=self.objects(scene))

    def answer(self, seen: Seen, ask: Ask) -> Answer:
        """The plan; there is no noise to ask for."""
        del ask
        return Answer(poses=self.out(self.points(self.scene(seen))))
