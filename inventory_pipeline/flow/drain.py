"""The hot path: cycles while there is work, then waits for the next event (docs/architecture.md).

Computing goes on while channels answer: each channel has one lane, and a slow one holds up nobody
else.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.activate import restructured
from inventory_pipeline.flow.context import HubContext, is_outdated, renewed
from inventory_pipeline.flow.cycle import CycleReport, idle_cycle, run_cycle
from inventory_pipeline.flow.guard import look_at_held
from inventory_pipeline.flow.push import PushReport, push_channel, sent_skus
from inventory_pipeline.memory import attempts, outbox, sync
from inventory_pipeline.memory.postgres import LEDGER_NOTIFICATION, Connection

REPORT_EVERY = timedelta(seconds=1)
# Other rules or modes are noticed at once where their notification comes, and by then where not.
LONGEST_WAIT = timedelta(seconds=2)
# While a channel is being asked, its answer is looked for this often.
ANSWER_WAIT = timedelta(milliseconds=20)

log = logging.getLogger(__name__)

Report = Callable[[Sequence[CycleReport], Sequence[PushReport]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """A drain's life. `ended` says why: idle, max_run, superseded, new policy (one that changes
    channels or systems; others are taken up on the way), or another drains.
    """

    ended: str
    epoch: int | None = None
    cycles: int = 0
    events: int = 0
    pushes: Mapping[str, PushReport] = field(default_factory=dict)


def drain(
    ctx: HubContext,
    *,
    idle: timedelta,
    max_run: timedelta,
    report: Report,
    holder: str = "drain",
    wait_for_lock: bool = True,
) -> DrainReport:
    """Cycles and pushes until nothing has happened for `idle`, at most for `max_run`.

    `report` is called at most once a second, and once at the end, with what happened since; it is
    never on the way of a push. A predecessor that still holds the lock is waited for, or not.
    """
    with sync.drain_lock(ctx.pg, holder=holder, wait=wait_for_lock) as epoch:
        if epoch is None:
            return DrainReport(ended="another drains")
        with ctx.pg.connection() as connection:
            attempts.abandon_open_attempts(connection, epoch=epoch, at=ctx.clock())
        with _Drain(ctx, epoch, report) as run:
            return run.until(idle=idle, max_run=max_run)


class _Drain:
    """One drain: its lanes, and what it has not reported yet."""

    def __init__(self, ctx: HubContext, epoch: int, report: Report) -> None:
        self.ctx = ctx
        self.epoch = epoch
        self.report = report
        self.channels = _sent(ctx)
        self.opened_with = ctx
        self.due_elsewhere = False
        self.lanes: dict[str, Future[PushReport]] = {}
        self.pool = ThreadPoolExecutor(max(1, len(ctx.hub.channels)), thread_name_prefix="push")
        self.cycles: list[CycleReport] = []
        self.pushes: list[PushReport] = []
        self.unloaded = True  # the derived store has not seen this context's rules
        self.total_cycles = 0
        self.total_events = 0
        self.totals = {channel: PushReport(channel=channel) for channel in self.channels}
        self.reported_at = ctx.clock()
        self.failing: set[str] = set()

    def __enter__(self) -> "_Drain":
        self.listener = self.ctx.pg.dedicated()
        self.listener.execute(f"LISTEN {LEDGER_NOTIFICATION}")
        self._begin_sending()
        return self

    def __exit__(self, *_: object) -> None:
        # Requests under way are finished and their answers stored before the lock is given up.
        self.pool.shutdown(wait=True)
        self.listener.close()
        self._disconnect()

    def until(self, *, idle: timedelta, max_run: timedelta) -> DrainReport:
        started = worked = self.ctx.clock()
        ended = ""
        try:
            while not ended:
                cycle = self._cycle()
                pushed = self._push()
                if not cycle.idle or pushed or self.lanes:
                    worked = self.ctx.clock()
                self._report(force=False)
                ended = self._end(self.ctx.clock() - worked >= idle, started + max_run)
                if cycle.idle and not ended:
                    self._wait(cycle.next_wakeup_at, until=worked + idle)
            self._finish_lanes()
        except sync.Superseded:
            ended = "superseded"
        self._report(force=True)
        return DrainReport(
            ended=ended,
            epoch=self.epoch,
            cycles=self.total_cycles,
            events=self.total_events,
            pushes=self.totals,
        )

    def _end(self, is_idle: bool, latest: datetime) -> str:
        if self._outdated() and not self._take_up():
            return "new policy"
        if self.ctx.clock() >= latest:
            return "max_run"
        return "idle" if is_idle and not self.lanes else ""

    def _cycle(self) -> CycleReport:
        if not (self._work_to_compute() or self.unloaded):
            return idle_cycle(self.ctx, self.state)
        self.unloaded = False
        cycle = run_cycle(self.ctx, self.epoch)
        look_at_held(self.ctx)
        self.total_cycles += 1
        if not cycle.idle:
            self.cycles.append(cycle)
            self.total_events += cycle.events
        return cycle

    def _work_to_compute(self) -> bool:
        """Asked of Postgres, so that a waiting drain does not open the derived store."""
        with self.ctx.pg.connection() as connection:
            self.state = sync.state(connection)
            sync.check_epoch(connection, self.epoch)
        wakeup = self.state.next_wakeup_at
        return self.state.behind > 0 or (wakeup is not None and wakeup <= self.ctx.clock())

    def _push(self) -> bool:
        """Starts a pass on every channel that has due rows and a free lane; collects finished
        ones.
        """
        collected = self._collect()
        now = self.ctx.clock()
        with self.ctx.pg.connection() as connection:
            due = outbox.channels_due(connection, now=now)
        self.due_elsewhere = not due <= set(self.channels)
        for channel in self.channels:
            if channel in due and channel not in self.lanes:
                self.lanes[channel] = self.pool.submit(push_channel, self.ctx, channel, self.epoch)
        return collected

    def _collect(self) -> bool:
        finished = [channel for channel, lane in self.lanes.items() if lane.done()]
        for channel in finished:
            result = self.lanes.pop(channel).result()
            self.pushes.append(result)
            self.totals[channel] += result
            self._tell_trouble(result)
        return bool(finished)

    def _tell_trouble(self, push: PushReport) -> None:
        """One line when a channel begins to fail and one when it answers again, not one a pass."""
        if push.failure and not push.acked and push.channel not in self.failing:
            self.failing.add(push.channel)
            log.warning(
                "channel %s: %s. Nothing is lost: its listings are sent when it answers.",
                push.channel,
                push.failure,
            )
        elif push.acked and push.channel in self.failing:
            self.failing.remove(push.channel)
            log.warning("channel %s answers again", push.channel)

    def _finish_lanes(self) -> None:
        for lane in self.lanes.values():
            lane.result()
        self._collect()

    def _wait(self, wakeup: datetime | None, *, until: datetime) -> None:
        """Until the ledger grows, a channel answers, a postponed row is due, or time changes a
        number.
        """
        now = self.ctx.clock()
        moments = [until, now + LONGEST_WAIT]
        if wakeup is not None:
            moments.append(wakeup)
        if self.lanes:
            moments.append(now + ANSWER_WAIT)
        with self.ctx.pg.connection() as connection:
            look = outbox.next_look(connection)
        # What is due for a channel that nobody sends to is nothing to wake up for.
        if look is not None and (look > now or not (self.lanes or self.due_elsewhere)):
            moments.append(look)
        timeout = max(0.0, (min(moments) - now).total_seconds())
        _wait_for_notification(self.listener, timeout)

    def _report(self, *, force: bool) -> None:
        now = self.ctx.clock()
        if not (self.cycles or self.pushes):
            return
        if force or now - self.reported_at >= REPORT_EVERY:
            cycles, self.cycles = self.cycles, []
            pushes, self.pushes = self.pushes, []
            self.report(cycles, pushes)
            self.reported_at = now

    def _outdated(self) -> bool:
        with self.ctx.pg.connection() as connection:
            return is_outdated(self.ctx, connection)

    def _take_up(self) -> bool:
        """Goes on with the rules, the catalogue and the modes that count now; what is being sent
        is finished before. False where channels or systems changed: Dagster's definitions, and
        with them the next run, are made of those.
        """
        self._finish_lanes()
        new = renewed(self.ctx)
        if restructured(self.ctx.as_written, new.as_written):
            new.disconnect()
            return False
        if new.connectors is not self.ctx.connectors:
            self._disconnect()
        self.ctx = new
        self.unloaded = True
        self.channels = _sent(new)
        for channel in self.channels:
            self.totals.setdefault(channel, PushReport(channel=channel))
        self._begin_sending()
        log.info(
            "goes on with rules version %s, catalogue version %s and modes set by hand: %s",
            new.policy_version, new.mapping_version, new.overrides or "none",
        )  # fmt: skip
        return True

    def _begin_sending(self) -> None:
        """What a shadow noted is no base for a channel that sends by now: it is due at once."""
        for name in self.channels:
            channel = self.ctx.hub.channels[name]
            if channel.mode in {Mode.LIVE, Mode.CANARY}:
                with self.ctx.pg.connection() as connection:
                    sync.check_epoch(connection, self.epoch)
                    outbox.start_sending(connection, name, among=sent_skus(self.ctx, channel))

    def _disconnect(self) -> None:
        """Closes the connectors that were opened on the way; the first ones are the caller's."""
        if self.ctx.connectors is not self.opened_with.connectors:
            self.ctx.disconnect()


def _sent(ctx: HubContext) -> list[str]:
    """Channels that have a lane."""
    return [
        channel.id
        for channel in ctx.hub.channels.values()
        if channel.mode is not Mode.OFF and channel.id not in ctx.stopped
    ]


def _wait_for_notification(listener: Connection, timeout_s: float) -> None:
    for _ in listener.notifies(timeout=timeout_s, stop_after=1):
        pass
