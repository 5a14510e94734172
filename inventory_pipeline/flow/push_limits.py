"""What keeps a write from leaving today, or at all: revisions a day, and settings that changed."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic

from inventory_pipeline.core.outbox import PlannedWrite, revision_allowed
from inventory_pipeline.flow.push_lane import Lane
from inventory_pipeline.memory import attempts, outbox, versions
from inventory_pipeline.memory.postgres import Connection

NOTICED_WITHIN_S = 0.025  # batches that leave faster than that are not asked about one by one


class Revisions:
    """Of a channel that lets each listing be revised so many times a day (UTC)."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._channel = lane.channel
        self._per_day = lane.capabilities.revisions_per_day

    def allowed(self, writes: list[PlannedWrite]) -> list[PlannedWrite]:
        """Those that may leave; the others wait until the day turns, and say so."""
        if self._per_day is None:
            return writes
        now = self._lane.now().astimezone(UTC)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        with self._lane.ctx.pg.connection() as connection:
            spent = attempts.revisions_since(
                connection, self._channel.id, [write.row.place for write in writes], today
            )
            allowed: list[PlannedWrite] = []
            waiting: list[PlannedWrite] = []
            for write in writes:
                count = spent.get(write.row.place, 0)
                ok = revision_allowed(write, spent=count, per_day=self._per_day)
                (allowed if ok else waiting).append(write)
            self._wait(connection, waiting, today + timedelta(days=1))
        self._lane.tally.add("spent", len(waiting))
        return allowed

    def _wait(
        self, connection: Connection, writes: Sequence[PlannedWrite], until: datetime
    ) -> None:
        why = (
            f"{self._channel.system}: nearly all of today's {self._per_day} revisions of this "
            f"listing are spent; it goes on at {until:%Y-%m-%d} 00:00 UTC, and what is left is "
            "kept for decreases to zero or near it"
        )
        outbox.postpone(connection, [write.row for write in writes], until, why)


class Settings:
    """Whether the policy, the catalogue and the modes that this pass works by still count, and
    whether it is still this run that drains.
    """

    def __init__(self, lane: Lane) -> None:
        self._ctx = lane.ctx
        self._epoch = lane.epoch
        self._asked = 0.0
        self.changed = False

    def count_now(self) -> bool:
        """Asked just before each batch leaves; a switch is noticed within NOTICED_WITHIN_S."""
        asked = monotonic()
        if self.changed or asked - self._asked < NOTICED_WITHIN_S:
            return not self.changed
        self._asked = asked
        with self._ctx.pg.connection() as connection:
            return self.still_count(connection)

    def still_count(self, connection: Connection) -> bool:
        """Asked before each batch: a channel that is switched off sends nothing more, and a run
        that another has taken over from neither.
        """
        newest, epoch = versions.newest_and_epoch(connection)
        self.changed = epoch != self._epoch or newest.supersedes(self._ctx.settings)
        return not self.changed
