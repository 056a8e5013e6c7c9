"""What will be seen at 1, 2 and 3 s: from pictures, ego status and instruction to visual states in the tokenizer's space.

Source: "Grounding Driving VLA via Inverse Kinematics", section 3.2; there a language model says the next state, here a small
transformer in the tokenizer's latents.
"""

from torch import Tensor, nn

from policy.blocks import ObjectScores, SceneTokens
from policy.planner_config import PlannerConfig
from policy.seeing import Seen


class NextStatePredictor(nn.Module):
    """Says the latents of the pictures to come (`PlannerConfig.state_frames` ahead; the present one in the ablation)."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.config, self.states = config, len(config.state_frames)
        self.scene = SceneTokens(config)
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, self.states * config.channels)
        self.objects = ObjectScores(config)

    def forward(self, seen: Seen) -> Tensor:
        """Visual states [B, state, camera, channel, h, w]."""
        return self.looked(seen)[0]

    def looked(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Visual states, and scores of where objects are now [B, 1, cells]."""
        config, scene = self.config, self.scene(seen)
        tokens = self.out(self.norm(scene[:, : config.cells]))
        sizes = (config.cameras, config.rows, config.columns, self.states, config.channels)
        states = tokens.unflatten(-1, sizes[3:]).unflatten(1, sizes[:3]).permute(0, 4, 1, 5, 2, 3)
        return states, self.objects(scene)
