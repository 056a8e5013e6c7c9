"""The units of a plan by key and by shard."""

from collections.abc import Mapping
from functools import cached_property

from studio.jobs.units import Batch, Shard, Unit


class Roster:
    """Units of a batch.

    Attributes:
        batch: The plan.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    @cached_property
    def units(self) -> Mapping[str, Unit]:
        """All units by key."""
        return {unit.key: unit for unit in self.batch.units}

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Numbers of all units by key."""
        return {unit.key: unit.number for unit in self.batch.units}

    def of(self, shard: Shard) -> list[Unit]:
        """Units of a shard in order of their numbers."""
        units = (unit for work in self.batch.works if shard.owns(work) for unit in work.units)
        return sorted(units, key=lambda unit: unit.number)

    def numbers_of(self, shard: Shard) -> dict[str, int]:
        """Numbers of a shard's units by key."""
        return {unit.key: unit.number for unit in self.of(shard)}
