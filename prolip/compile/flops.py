"""Floating-point operations of one step that the method asks for, whatever the program does."""

from typing import NamedTuple

from prolip.config import TrainConfig
from prolip.models import count


class StepFlops(NamedTuple):
    """Of all devices together; 2 for a multiply-add. Recomputation is not counted."""

    pairs: int  # Forward and backward of both towers.
    masked_views: int  # Of the pairs that get masked views.
    loss: int  # Products over all pairs of the global batch.

    @property
    def total(self) -> int:
        """What MFU is measured by."""
        return self.pairs + self.masked_views + self.loss


def step_flops(config: TrainConfig) -> StepFlops:
    """Three times forward for each view, and three products (the softmax loss: four) of pairs.

    Products of PCME, which are of samples, and of the triplet loss are not counted.

    Frozen towers have no way back.
    """
    goal, batch, frozen = config.objective, config.global_batch, config.optimizer.frozen
    masked = 0
    if goal.inclusion_masked:
        rows = batch // goal.mask_every
        times = 3 if frozen == "none" else 1
        masked = times * rows * count.masked_view_flops(config.model, goal.mask_image_keep)
    products = 3 * (bool(goal.ppcl) + bool(goal.siglip) + bool(goal.pcmepp)) + 4 * bool(goal.clip)
    products += 3 * bool(goal.sets) * config.model.slots.count**2
    return StepFlops(
        batch * count.train_flops_per_pair(config.model, frozen),
        masked,
        products * 2 * batch**2 * config.model.embed_dim,
    )
