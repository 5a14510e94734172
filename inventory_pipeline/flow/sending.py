"""One pass over one channel: look, settle, read, judge, send, remember (SEMANTICS §8).

The lane's thread looks, plans and stores; the calls that write run beside it, as many at once as
the channel allows, and the next batch is stored while one is under way. What leaves is decided
again every second, so that a zero that comes later overtakes whatever still waits.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.outbox import (
    OutboxRow,
    PlannedWrite,
    intent_key,
    must_be_fresh,
    must_wait,
    plan_writes,
)
from inventory_pipeline.core.ports import Basis, Connector
from inventory_pipeline.flow import guard, push_log
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.push_answers import Answers, Judged
from inventory_pipeline.flow.push_calls import Batch, Called, Place, call, stops_others
from inventory_pipeline.flow.push_circuit import Circuit
from inventory_pipeline.flow.push_lane import Lane
from inventory_pipeline.flow.push_limits import Revisions, Settings
from inventory_pipeline.flow.push_reading import Reader
from inventory_pipeline.flow.push_report import Tally
from inventory_pipeline.flow.push_unanswered import Unanswered
from inventory_pipeline.memory import intents, outbox, sync

PASS = timedelta(seconds=10)  # then the lane reports, and goes on with the next pass
RESOLVE = timedelta(seconds=2)  # then it is looked again which batches without an answer are due
PLAN = timedelta(seconds=1)  # then it is looked again which rows are the most urgent
MAX_ROUNDS = 1_000
FEWEST_ROWS = 500  # looked at in one round
MOST_ROWS = 20_000
# So many batches are stored ahead of those under way that they last for about so long, or for as
# long as a look takes: the channel's limit is not left unused meanwhile.
AHEAD_S = 0.05
FIRST_AHEAD = 8
MOST_AHEAD = 40
STORING = 2  # groups of answers that are stored at once, while the lane goes on
MOST_ANSWERED = 20  # batches that wait for that
SOONEST = timedelta(milliseconds=200)


class Pass:
    """One pass over one channel that sends: mode live, or the part of a canary that is sent
    (`among`: its skus).
    """

    def __init__(
        self,
        ctx: HubContext,
        channel: Channel,
        epoch: int,
        tally: Tally,
        *,
        among: Sequence[str] | None = None,
    ) -> None:
        connector = ctx.connectors[channel.system]
        self.lane = Lane(
            ctx=ctx, channel=channel, epoch=epoch, connector=connector,
            circuit=Circuit(ctx, channel.id), tally=tally,
        )  # fmt: skip
        self.ctx = ctx
        self.channel = channel
        self.epoch = epoch
        self.among = among
        self.tally = tally
        self.connector: Connector = connector
        self.capabilities = connector.capabilities
        self.circuit = self.lane.circuit
        self.reader = Reader(self.lane)
        self.answers = Answers(self.lane, self.reader)
        self.revisions = Revisions(self.lane)
        self.settings = Settings(self.lane)
        self.plan: deque[PlannedWrite] = deque()
        self.calls: dict[Future[Called | None], Batch] = {}
        self.answered: list[Judged] = []  # and not handed over to be stored
        self.storing: dict[Future[None], tuple[list[Judged], list[Batch]]] = {}
        self.halted = False
        self.under_way: set[Place] = set()
        self.call_s = 0.0
        self.look_s = 0.0
        self.rows = self._first_rows()
        self.pool: ThreadPoolExecutor | None = None
        self.memory: ThreadPoolExecutor | None = None

    def run(self) -> None:
        """Works until nothing is due, nothing more can be done, or PASS is over."""
        if self.circuit.waits or not self.probe():
            return
        resolved = self._now()
        ends = resolved + PASS
        Unanswered(self).resolve()
        try:
            for _ in range(MAX_ROUNDS):
                if not self._round() or self._stopped() or self._now() >= ends:
                    break
                if self._now() >= resolved + RESOLVE:
                    resolved = self._now()
                    Unanswered(self).resolve()
            self.plan.clear()
            while self.calls or self.storing:
                self._collect()
        finally:
            for pool in (self.pool, self.memory):
                if pool is not None:
                    pool.shutdown(wait=True)
            self.circuit.store()
        if self.circuit.breaker.is_open:
            self.tally.breaker = self.circuit.breaker.why

    def _round(self) -> bool:
        """Sends what goes again, else what a look finds, else waits; whether anything was left."""
        began = self._now()
        if self.answers.smaller:
            self._send(until=began + PLAN)
        elif self._look():
            looked = self._now()
            self.look_s = (looked - began).total_seconds()
            # A look that takes long is worth using for longer.
            self._send(until=looked + max(PLAN, 3 * (looked - began)))
            self._next_rows(self._now() - looked)
        elif self.calls or self.storing:
            self._collect()
        else:
            return False
        return True

    def probe(self) -> bool:
        """With an open breaker: whether one small reading is answered, so that a write may try."""
        if not self.circuit.breaker.is_open or not self.capabilities.levels:
            return True
        with self.ctx.pg.connection() as connection:
            rows = outbox.rows_to_look_at(
                connection,
                self.channel,
                self.capabilities,
                now=self._now(),
                limit=1,
                among=self.among,
            )
        if rows:
            self.reader.read(rows)
        return not self.circuit.waits

    # -- looking ------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Fills the plan; whether anything was due."""
        self.plan.clear()
        with self.ctx.pg.connection() as connection:
            rows = outbox.rows_to_look_at(
                connection,
                self.channel,
                self.capabilities,
                now=self._now(),
                limit=self.rows,
                among=self.among,
                under_way=self.under_way,
            )
            if not rows or not self.settings.still_count(connection):
                return False
        due = self._settle(rows)
        known = self.reader.read([row for row in due if row.needs_reading])
        ready = self._calm([row for row in due if not row.needs_reading] + known)
        planned = plan_writes(ready)
        self._settle_read(known)
        if planned:
            planned = self.revisions.allowed(planned)
            judged = guard.judge(self.ctx, self.channel, planned, now=self._now())
            self.tally.add("held", judged.held)
            self.plan.extend(judged.send)
        return True

    def _settle(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Rows with something to do; those that show what they must are settled."""
        settled = [row for row in rows if row.settled or not row.listed]
        open_rows = [row for row in rows if not (row.settled or not row.listed)]
        # Read or written a moment ago and uncertain again: wait until its own events have settled.
        places = self.reader.places
        busy = [row for row in open_rows if row.uncertain and row.place in places]
        if settled:
            with self.ctx.pg.connection() as connection:
                sync.check_epoch(connection, self.epoch)
                outbox.settle(connection, settled)
            self.tally.add("settled", len(settled))
        if not busy:
            return open_rows
        self._postpone(busy)
        return [row for row in open_rows if not (row.uncertain and row.place in places)]

    def _settle_read(self, known: Sequence[OutboxRow]) -> None:
        """What was just read and shows what it must is done, unless its own events are near."""
        calm = [r for r in known if r.settled and r.own_known and r.last_own_at is None]
        if calm:
            with self.ctx.pg.connection() as connection:
                sync.check_epoch(connection, self.epoch)
                outbox.settle_read(connection, calm)

    def _calm(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        now, skew = self._now(), self.channel.skew
        waiting = [row for row in rows if must_wait(row, now=now, skew=skew)]
        if not waiting:
            return list(rows)
        self._postpone(waiting)
        held = {row.place for row in waiting}
        return [row for row in rows if row.place not in held]

    def _postpone(self, rows: Sequence[OutboxRow]) -> None:
        """Until their own events have settled."""
        now = self._now()
        until: dict[datetime, list[OutboxRow]] = {}
        for row in rows:
            calm = (row.last_own_at or now) + self.channel.skew
            waits = must_wait(row, now=now, skew=self.channel.skew)
            until.setdefault(max(waits or calm, now + SOONEST), []).append(row)
        with self.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self.epoch)
            for at, some in until.items():
                outbox.postpone(connection, some, at)
        self.tally.add("postponed", len(rows))

    # -- sending ------------------------------------------------------------------------------

    def _send(self, *, until: datetime) -> None:
        """Sends the plan; what has not left at `until` is left to the next look, which goes on
        while the last batches are under way.
        """
        while not self._stopped() and self._now() < until:
            self._fill()
            if not self.calls:
                if self.plan:
                    continue  # all of the group was marked meanwhile
                return
            if not self.plan and not self.answers.smaller and self._free():
                return  # the next look goes on while these are under way
            self._collect()

    def _free(self) -> bool:
        """Whether another look would find a lane for what it finds."""
        return len(self.calls) < self._depth()

    def _depth(self) -> int:
        """How many batches may be stored and not answered: those under way, and some ahead."""
        if self.circuit.breaker.is_open or self.circuit.breaker.failures:
            return 1
        parallel = self.capabilities.parallel
        if self.call_s <= 0:
            return parallel + FIRST_AHEAD
        ahead = int(max(AHEAD_S, self.look_s) * parallel / self.call_s) + 1
        return parallel + min(ahead, MOST_AHEAD)

    def _fill(self) -> None:
        """Stores the next batches and hands them to the calls, once half of the lanes are free."""
        depth = self._depth()
        free = depth - len(self.calls)
        if free < max(1, depth // 2):
            return
        groups: list[list[PlannedWrite]] = []
        while len(groups) < free:
            group = self._take()
            if not group:
                break
            groups.append(group)
        groups = [group for group in self._freshened(groups) if group]
        batches = self._stored(groups) if groups else []
        push_log.sent(self.ctx, self.channel.id, batches)
        for batch in batches:
            self._start(batch)

    def _take(self) -> list[PlannedWrite]:
        """The next batch: parts of one that was refused first, then the plan. What failed before
        goes in smaller ones, so that a bad item ends alone.
        """
        if self.answers.smaller:
            return self.answers.smaller.popleft()
        if not self.plan:
            return []
        tries = self.plan[0].row.attempts
        size = max(1, self.capabilities.batch_size >> tries)
        if self.circuit.breaker.is_open:
            size = 1
        taken: list[PlannedWrite] = []
        while self.plan and len(taken) < size and self.plan[0].row.attempts == tries:
            taken.append(self.plan.popleft())
        return taken

    def _freshened(self, groups: list[list[PlannedWrite]]) -> list[list[PlannedWrite]]:
        """Reads what has to be read just before it is written; leaves out what needs no write."""
        stale = [
            write.row
            for group in groups
            for write in group
            if must_be_fresh(self.capabilities, write.quantity_milli)
            and not self.reader.is_fresh(write.row)
        ]
        if not stale:
            return groups
        read = self.reader.read(stale)
        self._settle_read(read)
        fresh = {row.place: row for row in self._calm(read)}
        asked = {row.place for row in stale}
        renewed = []
        for group in groups:
            writes = [
                write if write.row.place not in asked else _on_fresh(write, fresh)
                for write in group
            ]
            renewed.append([write for write in writes if write is not None])
        return renewed

    def _stored(self, groups: Sequence[list[PlannedWrite]]) -> list[Batch]:
        """Intents and keys of what is still wanted, stored in one transaction."""
        sent_at = self._now()
        with self.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self.epoch)
            if not self.settings.still_count(connection):
                self.plan.clear()
                self.answers.smaller.clear()
                return []
            wanted = intents.still_wanted(connection, self.channel.id, groups)
            batches = [self._batch(writes, sent_at) for writes in wanted]
            if batches:
                intents.store(
                    connection,
                    self.channel.id,
                    [
                        intents.Leaving(key=b.key, writes=b.writes, written=b.written_milli)
                        for b in batches
                    ],
                    epoch=self.epoch,
                    mode=self.channel.mode,
                    sent_at=sent_at,
                )
        return batches

    def _batch(self, writes: Sequence[PlannedWrite], sent_at: datetime) -> Batch:
        on_hand = self.capabilities.basis is Basis.ON_HAND
        held_back = [self.reader.reserved_milli(w.row) if on_hand else 0 for w in writes]
        # What it sold between this reading and the write is not in what was added.
        read = [w.row.base_sent_at for w in writes if on_hand and w.row.base_sent_at is not None]
        return Batch(
            key=intent_key(self.channel.id, writes),
            writes=writes,
            held_back=held_back,
            sent_at=sent_at,
            base_sent_at=min([sent_at, *read]),
        )

    def _start(self, batch: Batch) -> None:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(
                self.capabilities.parallel, thread_name_prefix=f"call-{self.channel.id}"
            )
        self.under_way |= batch.places
        self.calls[self.pool.submit(self._call, batch)] = batch

    def _call(self, batch: Batch) -> Called | None:
        """Beside the lane's thread. None: not sent, because the one before it failed as a whole, or
        because other rules, or another mode, count by now.
        """
        if self.halted or not self.settings.count_now():
            return None
        called = call(self.connector, batch, self.ctx.clock)
        if called.error is not None and stops_others(called.error):
            self.halted = True
        return called

    def _collect(self) -> None:
        """Waits for an answer, or until some are stored."""
        pending: list[Future[Any]] = [*self.calls, *self.storing]
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in [future for future in self.storing if future in done]:
            self._stored_now(future)
        called: list[Called] = []
        unsent: list[Batch] = []
        for answered in [future for future in self.calls if future in done]:
            batch = self.calls.pop(answered)
            answer = answered.result()
            if answer is None:
                unsent.append(batch)
            else:
                called.append(answer)
                self.call_s = (
                    0.8 * self.call_s + 0.2 * answer.seconds if self.call_s else answer.seconds
                )
        if called or unsent:
            self._keep(called, unsent)
        if not self.calls:
            self.halted = False

    def _keep(self, called: Sequence[Called], unsent: Sequence[Batch]) -> None:
        """Answers are stored beside the lane's thread, which goes on, and as many at once as came
        meanwhile; their listings are under way until then. What is no plain success is stored
        before anything else happens.
        """
        judged = self.answers.judge(called)
        self.answered += judged
        plain = not unsent and all(a.outcome == "acked" for _, some in judged for a in some)
        if plain:
            self._store_answered()
            while len(self.answered) >= MOST_ANSWERED:
                self._stored_now(next(iter(self.storing)))
            return
        while self.storing:
            self._stored_now(next(iter(self.storing)))
        self._store_answered(unsent)
        while self.storing:
            self._stored_now(next(iter(self.storing)))

    def _store_answered(self, unsent: Sequence[Batch] = ()) -> None:
        """Hands what is answered to a thread that stores it, if one is free."""
        if len(self.storing) >= STORING or not (self.answered or unsent):
            return
        if self.memory is None:
            self.memory = ThreadPoolExecutor(STORING, thread_name_prefix=f"store-{self.channel.id}")
        judged, self.answered = self.answered, []
        batches = [*(answer.batch for answer, _ in judged), *unsent]
        self.storing[self.memory.submit(self.answers.keep, judged, unsent)] = (judged, batches)

    def _stored_now(self, future: Future[None]) -> None:
        """Waits until these are stored, counts them, and lets the next ones follow."""
        judged, batches = self.storing.pop(future)
        future.result()
        for batch in batches:
            self.under_way -= batch.places
        self._store_answered()
        self.answers.count(judged)

    def _stopped(self) -> bool:
        return self.circuit.waits or self.settings.changed

    # -- sizes --------------------------------------------------------------------------------

    def _first_rows(self) -> int:
        batch = self.capabilities.batch_size * self.capabilities.parallel
        return min(max(4 * batch, -(-FEWEST_ROWS // batch) * batch), MOST_ROWS)

    def _next_rows(self, took: timedelta) -> None:
        """As many rows as leave within about a second, so that a look is seldom in vain."""
        if took < PLAN / 2:
            self.rows = min(self.rows * 4, max(MOST_ROWS, self._first_rows()))
        elif self.plan:
            self.rows = max(self.rows // 2, self._first_rows())

    def _now(self) -> datetime:
        return self.ctx.clock()


def _on_fresh(write: PlannedWrite, fresh: dict[Place, OutboxRow]) -> PlannedWrite | None:
    """The write from the reading just taken; None where it needs none, or has to wait."""
    row = fresh.get(write.row.place)
    if row is None or row.showing_milli is None or row.showing_milli == write.quantity_milli:
        return None
    return PlannedWrite(
        row=row, compare_milli=row.showing_milli, quantity_milli=write.quantity_milli
    )
