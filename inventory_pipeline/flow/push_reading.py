"""Reads what a channel shows, where that is not known, and makes it the rows' base."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from inventory_pipeline.core.errors import ChannelError, SourceError, SystemFailure
from inventory_pipeline.core.outbox import OutboxRow, is_unexplained_drop
from inventory_pipeline.core.ports import Level
from inventory_pipeline.flow.push_calls import Place, backoff, is_refusal
from inventory_pipeline.flow.push_lane import Lane
from inventory_pipeline.memory import outbox, sync

NOT_LISTED_AGAIN = timedelta(minutes=5)
FRESH = timedelta(seconds=2)  # a reading is as good as new for so long


class Reader:
    """Readings of one pass. `places` are the listings that were read or written in it."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._ctx = lane.ctx
        self._channel = lane.channel
        self._epoch = lane.epoch
        self._circuit = lane.circuit
        self._tally = lane.tally
        self._reserved: dict[Place, tuple[int, datetime]] = {}
        self.places: set[Place] = set()

    def reserved_milli(self, row: OutboxRow) -> int:
        """What the platform held reserved of it at its newest reading in this pass."""
        return self._reserved.get(row.place, (0, None))[0]

    def is_fresh(self, row: OutboxRow) -> bool:
        """Whether it was read in this pass, a moment ago."""
        read = self._reserved.get(row.place)
        return read is not None and read[1] > self._lane.now() - FRESH

    def wrote(self, places: Sequence[Place]) -> None:
        """These were written: what was read of them before is not fresh any more."""
        for place in places:
            self._reserved.pop(place, None)
            self.places.add(place)

    def read(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """The rows with the reading as their base, without those that have to wait.

        What the channel does not list is looked at later; where it shows less than it should, the
        order behind that is given time to come in.
        """
        if not rows or self._circuit.waits:
            return []
        levels = self._levels(rows)
        with self._ctx.pg.connection() as connection:
            sync.check_epoch(connection, self._epoch)
            outbox.store_readings(connection, self._channel.id, list(levels.values()))
        self._tally.add("read", len(levels))
        for place, level in levels.items():
            self._reserved[place] = (level.reserved_milli, level.answered_at)
        self.places.update(levels)
        found = [(row, levels[row.place]) for row in rows if row.place in levels]
        dropped = [row for row, level in found if is_unexplained_drop(row, level.available_milli)]
        self._wait_for_orders(dropped)
        waiting = {row.place for row in dropped}
        return [_with_reading(row, level) for row, level in found if row.place not in waiting]

    def _levels(self, rows: Sequence[OutboxRow]) -> dict[Place, Level]:
        """Levels by place. A call that is refused as a whole is halved until the listing that it
        is about stands alone.
        """
        found: dict[Place, Level] = {}
        parts = [list(rows)]
        while parts and not self._circuit.waits:
            part = parts.pop()
            answer = self._ask(part)
            if not isinstance(answer, SystemFailure):
                found.update(answer)
                self._not_listed([row for row in part if row.place not in answer])
                self._circuit.answered(call="read")
                continue
            self._tally.failure = str(answer)
            self._circuit.failed(answer, {row.place for row in part}, call="read")
            if is_refusal(answer) and len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                self._failed(part, answer)
        return found

    def _ask(self, rows: Sequence[OutboxRow]) -> dict[Place, Level] | SystemFailure:
        try:
            levels = list(self._lane.connector.read_levels([row.listing for row in rows]))
        except (ChannelError, SourceError) as error:
            return error
        return {(level.listing.bucket, level.listing.external_id): level for level in levels}

    def _not_listed(self, rows: Sequence[OutboxRow]) -> None:
        if rows:
            with self._ctx.pg.connection() as connection:
                outbox.not_listed(
                    connection,
                    rows,
                    f"{self._channel.system} does not list it: correct catalog/identifiers.csv, "
                    "or list it there",
                    until=self._lane.now() + NOT_LISTED_AGAIN,
                )
            self._tally.add("not_listed", len(rows))

    def _failed(self, rows: Sequence[OutboxRow], error: SystemFailure) -> None:
        """A listing that cannot be read alone has failed; otherwise the channel has, as a whole."""
        now = self._lane.now()
        self._tally.add("busy", len(rows))
        with self._ctx.pg.connection() as connection:
            sync.check_epoch(connection, self._epoch)
            if not is_refusal(error):
                outbox.postpone(connection, rows, now, str(error))
                return
            [row] = rows
            tries = row.attempts + 1
            dead = tries >= self._channel.push.max_attempts
            outbox.reading_failed(
                connection,
                rows,
                str(error),
                until=now + backoff(row.attempts),
                dead_at=now if dead else None,
            )

    def _wait_for_orders(self, rows: Sequence[OutboxRow]) -> None:
        """Gives the order behind an unexplained drop the time to come in by webhook or poll."""
        if rows:
            patience = max(self._channel.skew, self._ctx.hub.systems[self._channel.system].poll)
            with self._ctx.pg.connection() as connection:
                sync.check_epoch(connection, self._epoch)
                outbox.wait_for_orders(connection, rows, self._lane.now() + patience)
            self._tally.add("postponed", len(rows))


def _with_reading(row: OutboxRow, level: Level) -> OutboxRow:
    """The row as just read: the reading holds everything that the channel did so far."""
    return row._replace(
        base_milli=level.available_milli,
        base_sent_at=level.asked_at,
        base_answered_at=level.answered_at,
        base_kind="reading",
        bases=row.bases + 1,
        own_milli=0,
        uncertain=False,
        unread=False,
        own_known=row.base_milli is not None,
    )
