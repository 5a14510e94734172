"""Holds what would change too much of a channel at once, until a person decides (SEMANTICS §8).

Asked before every batch. The common answer costs one small statement: what was counted once, and
what was sent and computed since, say that too few listings can be alarming. Only when they may be
enough is the whole channel counted.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.config.selectors import best_sku_rank
from inventory_pipeline.core.guard import Place, Tally, Window, fewest_that_trip, is_alarming
from inventory_pipeline.core.outbox import OutboxRow, PlannedWrite
from inventory_pipeline.core.vocabulary import EventType, Mode, MovesAt
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.guard_orders import Orders, bundle_kin
from inventory_pipeline.memory import guard as memory
from inventory_pipeline.memory.guard import HeldRow, Mark
from inventory_pipeline.memory.order_units import OF_ORDERS
from inventory_pipeline.memory.postgres import Connection

WORST_ROWS = 20
HELD_MESSAGE = "held by the guard: look at `inventory-pipeline guard list`"
REJECTED_MESSAGE = "its number was rejected: it waits for another one"
# By which events a channel lowers its own number.
TAKES = {
    MovesAt.NONE: (),
    MovesAt.ORDER: (EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED),
    MovesAt.PAYMENT: (EventType.ORDER_PLACED, EventType.ORDER_ADJUSTED),
    MovesAt.FULFILMENT: (EventType.ORDER_FULFILLED,),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What may be sent, in the order as planned; `held` listings are not sent as they were
    planned, `newly_held` of them since now.

    A held listing that its orders lower is in `send`, with the lowered quantity.
    """

    send: list[PlannedWrite]
    held: int = 0
    newly_held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """What a channel's check and its alert say: how many listings are held, since when, and the
    greatest moves among them.
    """

    held: int
    since: datetime | None
    worst: Sequence[HeldRow]


def judge(
    ctx: HubContext, channel: Channel, planned: Sequence[PlannedWrite], *, now: datetime
) -> Judged:
    """Which of these writes may leave. Rows that may not are put to rest in the outbox.

    Nothing may leave where other rules, another catalogue or another mode counts by now: the
    caller's hub is old. Raises PostgresUnavailable.
    """
    if not planned:
        return Judged(send=[])
    with ctx.pg.connection() as connection:
        return _Judge(ctx, channel, connection, now).judge(planned)


def look_at_held(ctx: HubContext) -> None:
    """After a cycle: orders lower what is held, though what is desired of it may not have moved."""
    with ctx.pg.connection() as connection:
        ordered = memory.ordered_since(connection, [str(type_) for type_ in OF_ORDERS])
        if ordered:
            kin = bundle_kin(ctx.hub.catalog.parts)
            others = {sku for one in ordered for sku, _ in kin.get(one, ())}
            memory.look_at(connection, sorted(others.union(ordered)))


def guard_state(connection: Connection, channel: str) -> GuardState:
    """What the guard holds of a channel now."""
    count, since = memory.held_counts(connection).get(channel, (0, None))
    worst = memory.held_rows(connection, channel, limit=WORST_ROWS) if count else []
    return GuardState(held=count, since=since, worst=worst)


class _Judge:
    """One judgement over one channel."""

    def __init__(
        self, ctx: HubContext, channel: Channel, connection: Connection, now: datetime
    ) -> None:
        self.ctx = ctx
        self.channel = channel
        self.connection = connection
        self.now = now
        self.guard = channel.guard
        self.takes = TAKES[ctx.connectors[channel.system].capabilities.moves_at]
        self.tally = self._tally()

    def judge(self, planned: Sequence[PlannedWrite]) -> Judged:
        window = self.tally.window
        room = self.tally.room(len(window.alarming))
        glance = memory.glance(
            self.connection, self.channel.id, since=self.tally.newest, most=room + 1
        )
        if glance.settings.supersedes(self.ctx.settings):
            return Judged(send=[])
        marks: Mapping[Place, Mark] = {}
        if glance.marks:
            marks = memory.marks(self.connection, self.channel.id, [_place(w) for w in planned])
        sorted_ = self._by_mark(planned, marks)
        orders = Orders(
            self.ctx, self.channel, self.connection, takes=self.takes, cursor=glance.cursor
        )
        alarming = [w for w in sorted_.ordinary if self._alarms(w)]
        held: list[PlannedWrite] = []
        if alarming:
            why = self._trips(sorted_.ordinary, alarming, fresh=glance.fresh)
            if why:
                held = orders.not_caused(alarming)
                self._hold(held, orders, why)
        return self._sent(planned, sorted_, held, orders, marks)

    def _tally(self) -> Tally:
        """What this process remembers of the channel; what was sent before it began is read."""
        key = (self.channel.id, self.guard)
        since = self.now - self.guard.window
        tally = self.ctx.tallies.get(key)
        if tally is None:
            tally = Tally(window=Window(percent=self.guard.percent))
            for place, at, start, end in memory.sent_since(self.connection, self.channel.id, since):
                tally.window.note(place, at, start, end)
            self.ctx.tallies[key] = tally
        tally.window.forget(since)
        return tally

    def _by_mark(self, planned: Sequence[PlannedWrite], marks: Mapping[Place, Mark]) -> "_ByMark":
        found = _ByMark(ordinary=[], kept=[], released=[])
        if not marks:
            found.ordinary.extend(planned)
            return found
        over = []
        for write in planned:
            mark = marks.get(_place(write))
            if mark is None:
                found.ordinary.append(write)
            elif _is_kept(mark, write.row):
                found.kept.append(write)
            elif mark.state == memory.RELEASED and self._lets_pass(mark, write.row):
                found.released.append(write)
            else:
                found.ordinary.append(write)
                if not self._is_remembered(mark):
                    over.append(_place(write))
        memory.lift(self.connection, self.channel.id, over)
        return found

    def _lets_pass(self, mark: Mark, row: OutboxRow) -> bool:
        """A release is for the number of its moment, until the channel has it, and not for ever.

        What moved a little since passes as well; what is alarming beside it is judged anew.
        """
        assert mark.decided_at is not None, "a release has a moment"
        if self.now - mark.decided_at > self.channel.push.give_up or _is_used(mark, row):
            return False
        return not is_alarming(mark.desired_milli, row.desired_milli, percent=self.guard.percent)

    def _is_remembered(self, mark: Mark) -> bool:
        """The window of a process that begins later has to know that a person let this pass."""
        return (
            mark.state == memory.RELEASED
            and mark.used_at is not None
            and self.now - mark.used_at <= self.guard.window
        )

    def _alarms(self, write: PlannedWrite) -> bool:
        start = self.tally.window.start(_place(write), write.compare_milli)
        return is_alarming(start, write.quantity_milli, percent=self.guard.percent)

    def _trips(
        self, ordinary: Sequence[PlannedWrite], alarming: Sequence[PlannedWrite], *, fresh: int
    ) -> str:
        """Why the alarming ones are too many; empty if they are not."""
        places = {_place(write) for write in ordinary}
        known = {_place(write) for write in alarming} | (self.tally.window.alarming - places)
        fewest = self.tally.fewest
        if fewest is not None and len(known) + self.tally.waiting + fresh < fewest:
            return ""
        counted = self._count()
        waiting = {
            place
            for place, (start, end) in counted.moves.items()
            if place not in places
            and is_alarming(self.tally.window.start(place, start), end, percent=self.guard.percent)
        }
        self.tally.waiting = len(waiting - known)
        self.tally.newest = counted.newest
        fewest = self.tally.fewest = fewest_that_trip(
            counted.listings, share=self.guard.share, min_listings=self.guard.min_listings
        )
        many = len(known | waiting)
        if many < fewest:
            return ""
        return (
            f"{many:,} of {counted.listings:,} listings would go to zero or move by more than "
            f"{self.guard.percent:f} % (allowed: {self.guard.share:f} % within "
            f"{_minutes(self.guard.window.total_seconds())})"
        )

    def _count(self) -> memory.Waiting:
        memory.lift_settled(self.connection, self.channel.id)
        skus = None
        if self.channel.mode is Mode.CANARY:
            items = self.ctx.hub.catalog.items.values()
            chosen = self.channel.canary_skus
            skus = [item.sku for item in items if best_sku_rank(chosen, item) is not None]
        return memory.waiting(
            self.connection,
            self.channel.id,
            system=self.channel.system,
            takes=[str(type_) for type_ in self.takes],
            percent=self.guard.percent,
            skus=skus,
        )

    def _hold(self, writes: Sequence[PlannedWrite], orders: Orders, why: str) -> None:
        if not writes:
            return
        rows = [
            (w.row, orders.left_of(w), (w.row.base_answered_at or self.now) + self.channel.skew)
            for w in writes
        ]
        memory.hold(
            self.connection, self.channel.id, rows, from_offset=orders.cursor, why=why, at=self.now
        )
        # They go on counting until somebody has decided.
        self.tally.waiting += len(writes)
        log.warning(
            "channel %s: the guard holds %d listings: %s. They stay as the channel shows them, "
            "and orders lower them, until a person decides: inventory-pipeline guard list HUB",
            self.channel.id, len(writes), why,
        )  # fmt: skip

    def _sent(
        self,
        planned: Sequence[PlannedWrite],
        sorted_: "_ByMark",
        newly: Sequence[PlannedWrite],
        orders: Orders,
        marks: Mapping[Place, Mark],
    ) -> Judged:
        """Everything but what is held, and that as far as its own orders lower it."""
        window = self.tally.window
        if not (newly or sorted_.kept or sorted_.released):
            for write in planned:
                window.note(_place(write), self.now, write.compare_milli, write.quantity_milli)
            return Judged(send=list(planned))
        held = {_place(write): write for write in (*sorted_.kept, *newly)}
        rejected = {p for p in held if p in marks and marks[p].state == memory.REJECTED}
        lowered = orders.lowered(
            list(held.values()), memory.marks(self.connection, self.channel.id, list(held))
        ) if held else {}  # fmt: skip
        for places, message in (
            (held.keys() - rejected, HELD_MESSAGE),
            (rejected, REJECTED_MESSAGE),
        ):
            resting = [held[place].row for place in held if place in places - lowered.keys()]
            memory.keep(self.connection, resting, message)
        memory.used(self.connection, self.channel.id, sorted_.released, at=self.now)
        for write in sorted_.released:
            window.begin_at(_place(write), self.now, write.row.desired_milli)
        for write in sorted_.ordinary:
            if (place := _place(write)) not in held:
                window.note(place, self.now, write.compare_milli, write.quantity_milli)
        send = [lowered.get(_place(write), write) for write in planned]
        return Judged(
            send=[w for w in send if _place(w) not in held or _place(w) in lowered],
            held=len(held),
            newly_held=len(newly),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByMark:
    """Planned writes: of listings that nobody decided about, that are not to be sent, and that a
    person let pass.
    """

    ordinary: list[PlannedWrite]
    kept: list[PlannedWrite]
    released: list[PlannedWrite]


def _is_kept(mark: Mark, row: OutboxRow) -> bool:
    """Held, or rejected with the number that it still has."""
    rejected = mark.state == memory.REJECTED and mark.desired_milli == row.desired_milli
    return rejected or mark.state == memory.HELD


def _is_used(mark: Mark, row: OutboxRow) -> bool:
    """The channel has acknowledged the released number, or showed it when it was read."""
    if mark.used_at is None or row.base_answered_at is None:
        return False
    shows = row.base_answered_at >= mark.used_at and row.base_milli == mark.desired_milli
    return mark.acked or shows


def _place(write: PlannedWrite) -> Place:
    return (write.row.listing.bucket, write.row.listing.external_id)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:g} min"
