"""Whether the hub is well, and what is not: what its checks say, for the page, the command and
metrics. Nothing is judged here: flow.checks decides, and this puts it beside what it is about.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from inventory_pipeline.config.policy import Channel, Hub, System
from inventory_pipeline.core import verdicts
from inventory_pipeline.core.ports import Connector
from inventory_pipeline.flow.checks import Look
from inventory_pipeline.memory import limits, modes
from inventory_pipeline.memory.limits import Budget
from inventory_pipeline.memory.modes import Override
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server import queries, rows
from inventory_pipeline.server.judging import Judged, Judging

Level = Literal["good", "warning", "bad"]

LEVELS: dict[verdicts.Level, Level] = {
    verdicts.Level.GOOD: "good",
    verdicts.Level.WARNING: "warning",
    verdicts.Level.ERROR: "bad",
}
# Checks name moments as programs write them; people read days and times of day, in UTC.
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?\+00:00")
OF_CHANNELS = ("ats", "push", "reconcile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """One check that is not good; `href` is the page that tells more, `asset` is Dagster's."""

    level: Level
    subject: str
    check: str
    message: str
    href: str
    asset: str


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


def look(
    connection: Connection,
    hub: Hub,
    connectors: Mapping[str, Connector],
    *,
    state: Path,
    at: datetime,
    judging: Judging | None = None,
) -> Wellbeing:
    """Asks Postgres once for everything. `state` is the hub's state folder; `judging` is whoever
    remembers what dear checks said a moment ago: without it each is judged now.
    """
    judged = (judging or Judging()).verdicts(
        Look(connection=connection, hub=hub, state=state, now=at), connectors
    )
    found = [_concern(one) for one in judged if not one.verdict.passed]
    overrides = modes.overrides(connection)
    feeds = queries.feed_states(connection)
    budgets = limits.budgets(connection)
    states = queries.channel_states(connection, list(hub.channels), at=at)
    systems = queries.system_states(connection, list(hub.systems), at=at)
    return Wellbeing(
        at=at,
        sync=queries.sync_state(connection),
        general=tuple(one for one in found if not _of_channel(hub, one) and not _of_system(one)),
        channels=tuple(
            ChannelCard(
                policy=hub.channels[one.channel],
                state=one,
                override=overrides.get(one.channel),
                concerns=_about(found, [f"{kind}/{one.channel}" for kind in OF_CHANNELS]),
            )
            for one in states
        ),
        systems=tuple(
            SystemLine(
                policy=hub.systems[one.system],
                state=one,
                feeds=tuple(feed for feed in feeds if feed.system == one.system),
                budgets=tuple(budget for budget in budgets if budget.system == one.system),
                concerns=_about(found, [f"landing/{one.system}"]),
                at=at,
            )
            for one in systems
        ),
    )


def worst(concerns: Sequence[Concern]) -> Level:
    levels = {concern.level for concern in concerns}
    return "bad" if "bad" in levels else "warning" if levels else "good"


def _concern(judged: Judged) -> Concern:
    check, verdict = judged.check, judged.verdict
    return Concern(
        level=LEVELS[verdict.level],
        subject=check.asset[-1],
        check=check.name,
        message=MOMENT.sub(r"\1 \2", verdict.description),
        href=check.page,
        asset="/".join(check.asset),
    )


def _about(found: Sequence[Concern], assets: Sequence[str]) -> tuple[Concern, ...]:
    return tuple(
        sorted((one for one in found if one.asset in assets), key=lambda one: one.level != "bad")
    )


def _of_channel(hub: Hub, concern: Concern) -> bool:
    kind, _, name = concern.asset.partition("/")
    return kind in OF_CHANNELS and name in hub.channels


def _of_system(concern: Concern) -> bool:
    return concern.asset.startswith("landing/")
