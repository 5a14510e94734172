"""Looks at every check, tells people what is news, and keeps at it until the message has left."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.config.secrets import reveal
from inventory_pipeline.core.alerts import Line, News, Trouble, decide, lines
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.verdicts import Level
from inventory_pipeline.flow.checks import Check, Look, checks_of
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory import alerts
from inventory_pipeline.memory.alerts import Message
from inventory_pipeline.memory.postgres import Connection

HUB_URL = "HUB_URL"  # where people reach the pages
MOST_LINES = 20
MOST_AT_ONCE = 20
FIRST_RETRY = timedelta(seconds=30)
LAST_RETRY = timedelta(minutes=30)
GIVE_UP = timedelta(hours=24)

# Sends one text to one Apprise address; raises NotDelivered with what went wrong.
Send = Callable[[str, str, str, Level], None]

log = logging.getLogger(__name__)


class NotDelivered(HubError):
    """A message did not reach its place."""


def watch(ctx: HubContext, send: Send | None = None) -> list[Line]:
    """One look at everything, and the messages that are due; returns what is news.

    Only one process of a hub looks at a time. A hub without `alerts.to` is looked at as well, so
    that the pages know since when something is not well.
    """
    now = ctx.clock()
    with ctx.pg.connection() as connection:
        if not alerts.take_turn(connection):
            return []
        news = _look(connection, ctx, now)
    deliver(ctx, send or send_by_apprise)
    return news


def _look(connection: Connection, ctx: HubContext, now: datetime) -> list[Line]:
    decision = decide(
        alerts.known(connection),
        troubles(connection, ctx, now),
        now=now,
        quiet=ctx.hub.alerts.quiet,
    )
    told = lines(decision.news)
    if told and ctx.hub.alerts.to:
        alerts.store_message(
            connection,
            list(ctx.hub.alerts.to),
            level=_worst(told),
            title=title(ctx.hub.name, told),
            body=body(told),
            at=now,
        )
    alerts.keep(connection, decision.kept, ended=decision.ended)
    return told


def troubles(connection: Connection, ctx: HubContext, now: datetime) -> Iterator[Trouble]:
    """What is not well now: the verdicts that are not good."""
    able = {name: connector.capabilities for name, connector in ctx.connectors.items()}
    look = Look(connection=connection, hub=ctx.hub, state=ctx.state, now=now)
    for check in checks_of(ctx.hub, able):
        verdict = check.judge(look)
        if not verdict.passed:
            yield Trouble(
                alert=f"{_subject(check)}: {check.name}",
                subject=_subject(check),
                level=verdict.level,
                message=verdict.description,
                href=check.page,
            )


def deliver(ctx: HubContext, send: Send) -> int:
    """Sends the messages that are due; those that do not leave are tried again, for a day."""
    for count in range(MOST_AT_ONCE):
        with ctx.pg.connection() as connection:
            message = alerts.next_message(connection, now=ctx.clock())
            if message is None:
                return count
            failure = _try(ctx.hub, message, send)
            now = ctx.clock()
            if failure is None:
                alerts.sent(connection, message, at=now)
            else:
                log.warning("%s was not told: %s", message.target, failure)
                again_at = _again_at(message, now)
                alerts.not_sent(connection, message, failure, again_at=again_at, at=now)
    return MOST_AT_ONCE


def _try(hub: Hub, message: Message, send: Send) -> str | None:
    """What went wrong; None: it has left."""
    address = hub.alerts.to.get(message.target)
    if address is None:
        return f"alerts.to in hub.yaml names no {message.target} any more"
    try:
        send(reveal(address), message.title, message.body, message.level)
    except NotDelivered as error:
        return str(error)
    return None


def _again_at(message: Message, now: datetime) -> datetime | None:
    if now - message.made_at >= GIVE_UP:
        return None
    return now + min(FIRST_RETRY * (1 << min(message.attempts, 12)), LAST_RETRY)


def send_by_apprise(address: str, title_: str, body_: str, level: Level) -> None:
    """Raises NotDelivered; Apprise's own words may hold the address, so they are not repeated."""
    import apprise

    types = {Level.WARNING: apprise.NotifyType.WARNING, Level.ERROR: apprise.NotifyType.FAILURE}
    sender = apprise.Apprise()
    if not sender.add(address):
        raise NotDelivered(
            "its address in alerts.to is none that Apprise knows",
            hint="look at docs/alerts.md for examples.",
        )
    kind = types.get(level, apprise.NotifyType.SUCCESS)
    if not sender.notify(body=body_, title=title_, notify_type=kind):
        service = next(iter(sender)).service_name
        raise NotDelivered(
            f"{service} did not take the message",
            hint="try it with `inventory-pipeline alerts test`.",
        )


def title(hub: str, told: Sequence[Line]) -> str:
    """`acme: 2 new, 1 worse, 1 well again`."""
    counts = {news: sum(line.news is news for line in told) for news in News}
    words = {News.BEGAN: "new", News.ESCALATED: "worse", News.ENDED: "well again"}
    parts = [f"{count} {words[news]}" for news, count in counts.items() if count]
    return f"{hub}: {', '.join(parts)}"


def body(told: Sequence[Line]) -> str:
    """One paragraph a line, with the page that tells more."""
    base = os.environ.get(HUB_URL, "").rstrip("/")
    texts = [_text(line, base) for line in told[:MOST_LINES]]
    if len(told) > MOST_LINES:
        texts.append(f"and {len(told) - MOST_LINES} more: {base}/")
    return "\n\n".join(texts)


def _text(line: Line, base: str) -> str:
    since = line.since.isoformat(timespec="seconds")
    if line.news is News.ENDED:
        return f"WELL AGAIN {line.subject}, not well since {since}: {line.message}"
    word = "ERROR" if line.level is Level.ERROR else "WARNING"
    worse = " (a warning until now)" if line.news is News.ESCALATED else ""
    return f"{word}{worse} {line.subject} since {since}: {line.message}\n{base}{line.href}"


def _worst(told: Sequence[Line]) -> Level:
    open_ones = [line.level for line in told if line.news is not News.ENDED]
    if not open_ones:
        return Level.GOOD
    return Level.ERROR if Level.ERROR in open_ones else Level.WARNING


def _subject(check: Check) -> str:
    return check.asset[-1]
