"""Whom to tell of what, and when not: first failure, escalation, recovery, and nothing twice.

Pure decisions. A trouble that comes and goes is one trouble: it is over once it has been well for
CALM. Whoever fixes something within PATIENCE of its beginning is not told of it by us.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum

from inventory_pipeline.core.verdicts import Level

PATIENCE = timedelta(seconds=30)
CALM = timedelta(minutes=5)
# So many troubles of one subject, or of one kind, are one: they are told together, in one line.
FEWEST_OF_ONE_CAUSE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is not well now. `alert` stays the same while its words change; `subject` is
    the channel, system or part of the hub.
    """

    alert: str  # "web: breaker"
    subject: str
    level: Level
    message: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is remembered of a trouble. `told` is the level that people know of; None: of none."""

    trouble: Trouble
    since: datetime
    last_seen: datetime
    well_since: datetime | None = None
    told: Level | None = None
    told_at: datetime | None = None


class News(StrEnum):
    BEGAN = "began"
    ESCALATED = "escalated"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """Times of day between which only errors are told; `until` may be on the next day."""

    begin: time
    until: time
    zone: tzinfo

    def hold(self, now: datetime) -> bool:
        at = now.astimezone(self.zone).time()
        if self.begin <= self.until:
            return self.begin <= at < self.until
        return at >= self.begin or at < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is remembered from now on, whose memory ends, and what people are told now."""

    kept: Sequence[Alert]
    ended: Sequence[str]
    news: Sequence[tuple[News, Alert]]


def decide(
    known: Mapping[str, Alert],
    troubles: Iterable[Trouble],
    *,
    now: datetime,
    quiet: QuietHours | None = None,
) -> Decision:
    """`known` is what was remembered, by alert; `troubles` everything that is not well now."""
    found = {trouble.alert: trouble for trouble in troubles}
    kept: list[Alert] = []
    ended: list[str] = []
    news: list[tuple[News, Alert]] = []
    silent = quiet is not None and quiet.hold(now)
    for name in sorted(known.keys() | found.keys()):
        alert = _seen(known.get(name), found.get(name), now)
        told = _news(alert, now, silent=silent)
        if told is not None:
            news.append((told, alert))
            alert = replace(alert, told=alert.trouble.level, told_at=now)
        over = alert.well_since is not None and now - alert.well_since >= CALM
        if over and (told is News.ENDED or alert.told is None):
            ended.append(name)
        else:
            kept.append(alert)
    return Decision(kept=kept, ended=ended, news=news)


def _seen(alert: Alert | None, trouble: Trouble | None, now: datetime) -> Alert:
    if alert is None:
        assert trouble is not None
        return Alert(trouble=trouble, since=now, last_seen=now)
    if trouble is None:
        return replace(alert, well_since=alert.well_since or now)
    return replace(alert, trouble=trouble, last_seen=now, well_since=None)


def _news(alert: Alert, now: datetime, *, silent: bool) -> News | None:
    """What there is to tell of it now; a warning, or an end, waits for the end of quiet hours."""
    error = alert.trouble.level is Level.ERROR
    if alert.well_since is not None:
        over = now - alert.well_since >= CALM
        return News.ENDED if over and alert.told is not None and not silent else None
    if silent and not error:
        return None
    if alert.told is None:
        return News.BEGAN if now - alert.since >= PATIENCE else None
    if error and alert.told is Level.WARNING:
        return News.ESCALATED
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a message: one piece of news, or several that have one cause."""

    news: News
    level: Level
    subject: str
    message: str
    href: str
    since: datetime


def lines(news: Sequence[tuple[News, Alert]]) -> list[Line]:
    """The news of one moment, the worst first; many of one kind become one line."""
    told: list[Line] = []
    groups: dict[tuple[News, Level, str], list[Alert]] = {}
    for what, alert in news:
        kind = alert.trouble.alert.partition(": ")[2]
        groups.setdefault((what, alert.trouble.level, kind), []).append(alert)
    for (what, level, kind), alerts in groups.items():
        if len(alerts) < FEWEST_OF_ONE_CAUSE:
            told += [_line(what, alert) for alert in alerts]
            continue
        first = alerts[0]
        names = ", ".join(sorted(alert.trouble.subject for alert in alerts)[:8])
        told.append(
            Line(
                news=what, level=level, subject=f"{len(alerts)} x {kind}",
                message=f"{names}{', …' if len(alerts) > 8 else ''}. "
                f"One of them: {first.trouble.message}",
                href=first.trouble.href, since=min(alert.since for alert in alerts),
            )
        )  # fmt: skip
    order = {News.ESCALATED: 0, News.BEGAN: 1, News.ENDED: 2}
    return sorted(
        told,
        key=lambda line: (order[line.news], line.level is not Level.ERROR, line.subject),
    )


def _line(what: News, alert: Alert) -> Line:
    trouble = alert.trouble
    return Line(
        news=what, level=trouble.level, subject=trouble.subject, message=trouble.message,
        href=trouble.href, since=alert.since,
    )  # fmt: skip
