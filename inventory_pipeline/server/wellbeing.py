"""Whether the hub is well, and what is not: one verdict for the page, the command and metrics."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from inventory_pipeline.config.policy import Channel, Hub, System
from inventory_pipeline.memory import limits, modes
from inventory_pipeline.memory.limits import Budget
from inventory_pipeline.memory.modes import Override
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server import present, queries, rows

Level = Literal["good", "warning", "bad"]

# Entries that nobody computes for so long: a warning, then an error.
BEHIND_WARNING = timedelta(minutes=2)
BEHIND_ERROR = timedelta(minutes=15)
INBOX_WARNING = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """One thing that is not well; `href` is the page that tells more."""

    level: Level
    subject: str
    message: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCard:
    """One channel, with what is wrong with it."""

    policy: Channel
    state: rows.ChannelState
    override: Override | None
    concerns: tuple[Concern, ...]

    @property
    def level(self) -> Level:
        return worst(self.concerns)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLine:
    """One system, its feeds, and what may still be asked of it."""

    policy: System
    state: rows.SystemState
    feeds: tuple[rows.FeedState, ...]
    budgets: tuple[Budget, ...]
    concerns: tuple[Concern, ...]
    at: datetime

    @property
    def failure(self) -> rows.FeedState | None:
        """The feed that fails now, if one does."""
        return next((feed for feed in self.feeds if feed.failing), None)

    @property
    def age(self) -> timedelta | None:
        """Age of the newest snapshot's own time."""
        as_of = self.state.snapshot_as_of
        return None if as_of is None else max(self.at - as_of, timedelta(0))

    @property
    def level(self) -> Level:
        return worst(self.concerns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wellbeing:
    """Everything that one look at the hub tells."""

    at: datetime
    sync: rows.SyncState
    channels: tuple[ChannelCard, ...]
    systems: tuple[SystemLine, ...]
    general: tuple[Concern, ...]

    @property
    def concerns(self) -> list[Concern]:
        """The errors first."""
        found = [
            *self.general,
            *(concern for card in self.channels for concern in card.concerns),
            *(concern for line in self.systems for concern in line.concerns),
        ]
        return sorted(found, key=lambda concern: concern.level != "bad")

    @property
    def level(self) -> Level:
        return worst(self.concerns)


def look(connection: Connection, hub: Hub, *, at: datetime) -> Wellbeing:
    """Asks Postgres once for everything."""
    sync = queries.sync_state(connection)
    overrides = modes.overrides(connection)
    feeds = queries.feed_states(connection)
    budgets = limits.budgets(connection)
    states = queries.channel_states(connection, list(hub.channels), at=at)
    systems = queries.system_states(connection, list(hub.systems), at=at)
    return Wellbeing(
        at=at,
        sync=sync,
        general=tuple(_of_hub(sync, at)),
        channels=tuple(
            ChannelCard(
                policy=hub.channels[state.channel],
                state=state,
                override=overrides.get(state.channel),
                concerns=tuple(_of_channel(hub, state, at)),
            )
            for state in states
        ),
        systems=tuple(_system(hub, state, feeds, budgets, at) for state in systems),
    )


def worst(concerns: list[Concern] | tuple[Concern, ...]) -> Level:
    levels = {concern.level for concern in concerns}
    return "bad" if "bad" in levels else "warning" if levels else "good"


def _of_hub(sync: rows.SyncState, at: datetime) -> Iterator[Concern]:
    if sync.behind and sync.waiting_since is not None:
        waited = at - sync.waiting_since
        if waited > BEHIND_WARNING:
            yield Concern(
                level="bad" if waited > BEHIND_ERROR else "warning",
                subject="computation",
                message=f"{sync.behind:,} ledger entries wait, the first for"
                f" {present.age_of(waited)}: look whether the daemon starts sync runs",
                href="/",
            )
    if sync.inbox_waiting >= INBOX_WARNING:
        yield Concern(
            level="warning",
            subject="webhooks",
            message=f"{sync.inbox_waiting:,} deliveries wait to be read: look whether an intake"
            " runs",
            href="/feeds",
        )


def _of_channel(hub: Hub, state: rows.ChannelState, at: datetime) -> Iterator[Concern]:
    name = state.channel

    def concern(level: Level, message: str, page: str) -> Concern:
        return Concern(level=level, subject=name, message=message, href=f"/{page}?channel={name}")

    if state.breaker is not None and state.breaker.is_open:
        since = present.age(state.breaker.since, at)
        yield concern("bad", f"breaker open for {since}: {state.breaker.why}", "pushes")
    if state.held:
        since = present.age(state.held_since, at)
        held = f"the guard holds {present.counted(state.held, 'listing')} for {since}"
        yield concern("bad", f"{held}: release or reject them", "pushes")
    if state.dead:
        yield concern(
            "bad", f"given up: {present.counted(state.dead, 'listing')}: {state.failure}", "pushes"
        )
    elif state.failed:
        yield concern(
            "warning",
            f"failing: {present.counted(state.failed, 'listing')}: {state.failure}",
            "pushes",
        )
    if state.open_variances and state.oldest_variance is not None:
        age = at - state.oldest_variance
        yield concern(
            "bad" if age > hub.tolerances.escalate_after else "warning",
            f"{present.counted(state.open_variances, 'open variance')}, the oldest for"
            f" {present.age_of(age)}",
            "variances",
        )


def _system(
    hub: Hub,
    state: rows.SystemState,
    feeds: list[rows.FeedState],
    budgets: list[Budget],
    at: datetime,
) -> SystemLine:
    line = SystemLine(
        policy=hub.systems[state.system],
        state=state,
        feeds=tuple(feed for feed in feeds if feed.system == state.system),
        budgets=tuple(budget for budget in budgets if budget.system == state.system),
        concerns=(),
        at=at,
    )
    return SystemLine(
        policy=line.policy, state=state, feeds=line.feeds, budgets=line.budgets,
        concerns=tuple(_of_system(line)), at=at,
    )  # fmt: skip


def _of_system(line: SystemLine) -> Iterator[Concern]:
    state, most = line.state, line.policy.snapshot.max_age

    def concern(level: Level, message: str, place: str = "") -> Concern:
        return Concern(level=level, subject=state.system, message=message, href=f"/feeds{place}")

    if line.failure is not None:
        first = (line.failure.failure or "").partition("\n")[0]
        since = present.age(line.failure.read_at or line.failure.failed_at, line.at)
        yield concern("bad", f"cannot be read for {since}: {first}")
    if line.age is not None and line.age > most and line.policy.owns:
        yield concern(
            "warning",
            f"stale: the newest snapshot is {present.age_of(line.age)} old, {present.age_of(most)}"
            " are allowed",
        )
    if state.rejected_last_day:
        yield concern(
            "warning",
            f"{present.counted(state.rejected_last_day, 'snapshot')} rejected within a day",
            "#rejected",
        )
    if state.quarantined:
        yield concern(
            "warning", f"{present.counted(state.quarantined, 'row')} in quarantine", "#quarantine"
        )
