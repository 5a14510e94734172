"""Sends what a channel must show and does not: settle, read, write, remember (SEMANTICS §8)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.config.selectors import best_sku_rank
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelError,
    OutcomeUnknown,
    SourceError,
    StaleCompare,
)
from inventory_pipeline.core.outbox import (
    OutboxRow,
    PlannedWrite,
    intent_key,
    is_unexplained_drop,
    must_wait,
    plan_writes,
)
from inventory_pipeline.core.ports import Connector, Level, LevelWrite
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import attempts, outbox, sync

MAX_ROWS = 5_000  # looked at in one round; the rest follow in the next
MAX_ROUNDS = 6
MAX_BATCHES = 1_000
NOT_LISTED_AGAIN = timedelta(minutes=5)
FIRST_RETRY = timedelta(seconds=1)
LAST_RETRY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What one pass over a channel did; counts are listings, latencies seconds to the answer."""

    channel: str
    settled: int = 0
    read: int = 0
    acked: int = 0
    stale: int = 0
    busy: int = 0
    refused: int = 0
    unknown: int = 0
    shadow: int = 0
    not_listed: int = 0
    postponed: int = 0
    failure: str = ""
    latency_s: tuple[float, ...] = ()  # received → acked, one per acknowledged write

    def __add__(self, other: "PushReport") -> "PushReport":
        counts = {
            name: getattr(self, name) + getattr(other, name)
            for name in (
                "settled", "read", "acked", "stale", "busy", "refused", "unknown", "shadow",
                "not_listed", "postponed", "latency_s",
            )
        }  # fmt: skip
        return PushReport(channel=self.channel, failure=other.failure or self.failure, **counts)


def push_channel(ctx: HubContext, channel_id: str, epoch: int) -> PushReport:
    """Works through the channel's rows that need a look until none is due or nothing more can be
    done.

    Failures of the channel are counted and their rows postponed, never raised. Raises Superseded
    when another drain has taken over, and PostgresUnavailable.
    """
    sender = _Sender(ctx, ctx.hub.channels[channel_id], epoch)
    report = PushReport(channel=channel_id)
    for _ in range(MAX_ROUNDS):
        with ctx.pg.connection() as connection:
            rows = outbox.rows_to_look_at(
                connection,
                sender.channel,
                sender.connector.capabilities,
                now=ctx.clock(),
                limit=MAX_ROWS,
            )
        if not rows:
            break
        report += sender.work(rows)
    return report


class _Sender:
    """One pass over one channel. `handled` are listings already read or written in this pass."""

    def __init__(self, ctx: HubContext, channel: Channel, epoch: int) -> None:
        self.ctx = ctx
        self.channel = channel
        self.epoch = epoch
        self.connector: Connector = ctx.connectors[channel.system]
        self.handled: set[tuple[str, str]] = set()

    def work(self, rows: Sequence[OutboxRow]) -> PushReport:
        report = PushReport(channel=self.channel.id)
        sending = [row for row in rows if self._is_sent(row)]
        report += self._shadow([row for row in rows if not self._is_sent(row)])
        settled = [row for row in sending if row.settled or not row.listed]
        open_rows = [row for row in sending if not (row.settled or not row.listed)]
        # Read or written a moment ago and uncertain again: wait until its own events have settled.
        busy = [row for row in open_rows if row.uncertain and _place(row) in self.handled]
        due = [row for row in open_rows if not (row.uncertain and _place(row) in self.handled)]
        with self.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self.epoch)
            outbox.settle(connection, settled)
        report += PushReport(channel=self.channel.id, settled=len(settled))
        report += self._postpone(busy)
        known, reading = self._read([row for row in due if row.needs_reading])
        report += reading
        ready = [row for row in due if not row.needs_reading] + known
        waiting = [r for r in ready if must_wait(r, now=self._now(), skew=self.channel.skew)]
        report += self._postpone(waiting)
        held = {_place(row) for row in waiting}
        return report + self._write(plan_writes(row for row in ready if _place(row) not in held))

    def _is_sent(self, row: OutboxRow) -> bool:
        if self.channel.mode is Mode.LIVE:
            return True
        item = self.ctx.hub.catalog.items.get(row.sku)
        return (
            self.channel.mode is Mode.CANARY
            and item is not None
            and best_sku_rank(self.channel.canary_skus, item) is not None
        )

    def _shadow(self, rows: Sequence[OutboxRow]) -> PushReport:
        """Records what would have been sent, and sends nothing."""
        if not rows:
            return PushReport(channel=self.channel.id)
        now = self._now()
        # What the shadow said last stands for what the channel would be showing now.
        writes = [
            PlannedWrite(row=row, compare_milli=row.showing_milli or 0)
            for row in rows
            if row.showing_milli != row.desired_milli
        ]
        key = intent_key(self.channel.id, writes)
        with self.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self.epoch)
            attempts.store_intents(
                connection, writes, key=key, epoch=self.epoch, mode=Mode.SHADOW, sent_at=now
            )
            attempts.store_answers(
                connection,
                [attempts.Answer(write=write, outcome="shadow") for write in writes],
                key=key,
                sent_at=now,
                answered_at=now,
                look_again_at=now,
            )
            outbox.settle(connection, rows)
        return PushReport(channel=self.channel.id, shadow=len(writes))

    def _read(self, rows: Sequence[OutboxRow]) -> tuple[list[OutboxRow], PushReport]:
        """Rows with the reading as their base; what the channel does not list is looked at
        later.
        """
        if not rows:
            return [], PushReport(channel=self.channel.id)
        by_place = {_place(row): row for row in rows}
        try:
            levels = list(self.connector.read_levels([row.listing for row in rows]))
        except (ChannelError, SourceError) as error:
            return [], self._failed(rows, error)
        with self.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self.epoch)
            outbox.store_readings(connection, self.channel.id, levels)
        read = {(level.listing.bucket, level.listing.external_id): level for level in levels}
        missing = [row for place, row in by_place.items() if place not in read]
        if missing:
            with self.ctx.pg.connection() as connection:
                outbox.not_listed(
                    connection,
                    missing,
                    f"{self.channel.system} does not list it: correct catalog/identifiers.csv, "
                    "or list it there",
                    until=self._now() + NOT_LISTED_AGAIN,
                )
        self.handled.update(read)
        found = {place: row for place, row in by_place.items() if place in read}
        dropped = [
            row for p, row in found.items() if is_unexplained_drop(row, read[p].quantity_milli)
        ]
        self._wait_for_orders(dropped)
        held = {_place(row) for row in dropped}
        known = [_with_reading(row, read[p]) for p, row in found.items() if p not in held]
        return known, PushReport(
            channel=self.channel.id,
            read=len(levels),
            not_listed=len(missing),
            postponed=len(dropped),
        )

    def _wait_for_orders(self, rows: Sequence[OutboxRow]) -> None:
        """Gives the order behind an unexplained drop the time to come in by webhook or poll."""
        if rows:
            patience = max(self.channel.skew, self.ctx.hub.systems[self.channel.system].poll)
            with self.ctx.pg.connection() as connection:
                sync.check_epoch(connection, self.epoch)
                outbox.postpone(connection, rows, self._now() + patience)

    def _write(self, writes: Sequence[PlannedWrite]) -> PushReport:
        report = PushReport(channel=self.channel.id)
        waiting = list(writes)
        for _ in range(MAX_BATCHES):
            batch = waiting[: self.connector.capabilities.batch_size]
            if not batch:
                return report
            answers, sent = self._send(batch)
            report += sent
            # Another item of its batch spoiled these: nothing was applied, they go again at once.
            again = [answer.write for answer in answers if answer.outcome == "split"]
            if sent.busy:
                # The channel asked for patience: the rest waits for the next pass as well.
                return report
            waiting = again + waiting[len(batch) :]
        return report

    def _send(self, batch: Sequence[PlannedWrite]) -> tuple[list[attempts.Answer], PushReport]:
        key = intent_key(self.channel.id, batch)
        sent_at = self._now()
        with self.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self.epoch)
            attempts.store_intents(
                connection, batch, key=key, epoch=self.epoch, mode=self.channel.mode,
                sent_at=sent_at,
            )  # fmt: skip
        answers = self._ask(batch, key)
        answered_at = self._now()
        with self.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self.epoch)
            attempts.store_answers(
                connection, answers, key=key, sent_at=sent_at, answered_at=answered_at,
                look_again_at=self._retry_at(answers, answered_at),
            )  # fmt: skip
        self.handled.update(_place(answer.write.row) for answer in answers)
        return answers, _counted(self.channel.id, answers, answered_at)

    def _ask(self, batch: Sequence[PlannedWrite], key: str) -> list[attempts.Answer]:
        level_writes = [
            LevelWrite(
                listing=w.row.listing,
                quantity_milli=w.row.desired_milli,
                compare_milli=w.compare_milli,
            )
            for w in batch
        ]
        planned = {_place(w.row): w for w in batch}
        try:
            outcomes = self.connector.write_levels(level_writes, key=key)
        except (ChannelError, SourceError) as error:
            return [_answer(w, error, alone=True) for w in batch]
        answers = []
        for outcome in outcomes:
            listing = outcome.write.listing
            write = planned.pop((listing.bucket, listing.external_id))
            answers.append(_answer(write, outcome.error, alone=len(batch) == 1))
        # A write that the answer does not mention may or may not have been applied.
        silent = "the answer does not mention it"
        return answers + [
            _answer(w, OutcomeUnknown(silent, system=self.channel.system, call="write_levels"))
            for w in planned.values()
        ]

    def _postpone(self, rows: Sequence[OutboxRow]) -> PushReport:
        if rows:
            with self.ctx.pg.connection() as connection:
                sync.check_epoch(connection, self.epoch)
                for row in rows:
                    calm = (row.last_own_at or self._now()) + self.channel.skew
                    soonest = self._now() + timedelta(milliseconds=200)
                    outbox.postpone(connection, [row], max(calm, soonest))
        return PushReport(channel=self.channel.id, postponed=len(rows))

    def _failed(self, rows: Sequence[OutboxRow], error: ChannelError | SourceError) -> PushReport:
        with self.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self.epoch)
            outbox.reading_failed(
                connection, rows, str(error), until=self._now() + _wait(error, rows)
            )
        return PushReport(channel=self.channel.id, busy=len(rows), failure=str(error))

    def _retry_at(self, answers: Sequence[attempts.Answer], now: datetime) -> datetime:
        rows = [answer.write.row for answer in answers]
        errors = [answer.error for answer in answers if answer.error is not None]
        return now + (max(_wait(error, rows) for error in errors) if errors else timedelta(0))

    def _now(self) -> datetime:
        return self.ctx.clock()


def _answer(
    write: PlannedWrite, error: ChannelError | SourceError | None, *, alone: bool = False
) -> attempts.Answer:
    """`alone`: no other item of its batch can have spoiled it."""
    match error:
        case None:
            outcome = "acked"
        case StaleCompare():
            outcome = "stale"
        case ChannelBusy(retry_after_s=wait) if wait <= 0 and not alone:
            outcome = "split"
        case ChannelBusy():
            outcome = "busy"
        case OutcomeUnknown():
            outcome = "unknown"
        case _:
            outcome = "refused"
    return attempts.Answer(write=write, outcome=outcome, error=error)


def _wait(error: Exception, rows: Sequence[OutboxRow]) -> timedelta:
    """What the channel asks for, else exponential by attempts between FIRST_RETRY and
    LAST_RETRY.
    """
    if isinstance(error, ChannelBusy) and error.retry_after_s:
        return timedelta(seconds=error.retry_after_s)
    attempts = min((row.attempts for row in rows), default=0)
    return min(FIRST_RETRY * (1 << min(attempts, 12)), LAST_RETRY)


def _with_reading(row: OutboxRow, level: Level) -> OutboxRow:
    """The row as just read: the reading holds everything that the channel did so far."""
    return replace(
        row,
        base_milli=level.quantity_milli,
        base_sent_at=level.asked_at,
        base_answered_at=level.answered_at,
        own_milli=0,
        uncertain=False,
        unread=False,
    )


_NO_FAILURE = {"acked", "stale", "split"}


def _counted(channel: str, answers: Sequence[attempts.Answer], answered_at: datetime) -> PushReport:
    outcomes = [answer.outcome for answer in answers]
    received = [a.write.row.received_at for a in answers if a.outcome == "acked"]
    failures = [str(a.error) for a in answers if a.outcome not in _NO_FAILURE]
    return PushReport(
        channel=channel,
        acked=outcomes.count("acked"),
        stale=outcomes.count("stale"),
        busy=outcomes.count("busy"),
        refused=outcomes.count("refused"),
        unknown=outcomes.count("unknown"),
        failure=failures[0] if failures else "",
        latency_s=tuple((answered_at - at).total_seconds() for at in received if at),
    )


def _place(row: OutboxRow) -> tuple[str, str]:
    return (row.listing.bucket, row.listing.external_id)
