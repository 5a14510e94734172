"""The operators' pages: server-rendered, no JavaScript, each one look at Postgres."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from inventory_pipeline.core.access import Role
from inventory_pipeline.core.vocabulary import Cause
from inventory_pipeline.memory import audit, breakers, dead, guard, periods, quarantine
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server import charts, feed_queries, present, queries, variance_queries
from inventory_pipeline.server.access import require_role
from inventory_pipeline.server.render import PageContext, Renderer
from inventory_pipeline.server.sku import sku_router

Name = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]

SHOWN = 100
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}
STEPS = {"1h": timedelta(minutes=5), "24h": timedelta(minutes=15), "7d": timedelta(hours=2)}
AGES = {"": None, "1h": timedelta(hours=1), "4h": timedelta(hours=4), "1d": timedelta(days=1)}


def pages_router(
    page: PageContext, draw: Renderer, openapi: Callable[[], dict[str, Any]]
) -> APIRouter:
    """Health, SKU, variances, pushes, feeds, latency, audit, and the API as `openapi` says."""
    router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    router.include_router(sku_router(page, draw))

    @router.get("/")
    def health(request: Request, refresh: int = 0) -> HTMLResponse:
        return draw(request, "health.html", refresh=refresh if refresh >= 5 else 0, **_health(page))

    @router.get("/variances")
    def variances(
        request: Request,
        *,
        channel: Name = "",
        cause: Name = "",
        system: Name = "",
        older: Name = "",
        closed: bool = False,
    ) -> HTMLResponse:
        chosen = {"channel": channel, "cause": cause, "system": system, "older": older}
        return draw(
            request, "variances.html", chosen=chosen, closed=closed,
            **_variances(page, chosen, closed=closed),
        )  # fmt: skip

    @router.get("/pushes")
    def pushes(request: Request, channel: Name = "") -> HTMLResponse:
        return draw(request, "pushes.html", channel=channel, **_pushes(page, channel))

    @router.get("/feeds")
    def feeds(request: Request, reason: Name = "") -> HTMLResponse:
        return draw(request, "feeds.html", reason=reason, **_feeds(page, reason))

    @router.get("/latency")
    def latency(request: Request, span: Name = "24h", channel: Name = "") -> HTMLResponse:
        chosen = span if span in SPANS else "24h"
        return draw(
            request, "latency.html", span=chosen, spans=list(SPANS), channel=channel,
            **_latency(page, chosen, channel),
        )  # fmt: skip

    @router.get("/audit")
    def acts(
        request: Request,
        by: Name = "",
        action: Name = "",
        before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    ) -> HTMLResponse:
        require_role(request, Role.READ)
        with page.pg.connection() as connection:
            found = audit.recent(
                connection, by=by or None, action=action or None, before=before, limit=SHOWN
            )
        return draw(
            request, "audit.html", acts=found, by=by, action=action, more=len(found) == SHOWN
        )

    @router.get("/docs")
    def docs(request: Request) -> HTMLResponse:
        return draw(request, "docs.html", api=openapi())

    return router


def _feeds(page: PageContext, reason: str) -> dict[str, Any]:
    with page.pg.connection() as connection:
        return {
            "feeds": queries.feed_states(connection),
            "rejected": feed_queries.newest_snapshots(connection, status="rejected"),
            "snapshots": feed_queries.newest_snapshots(connection),
            "counts": quarantine.counts(connection)[:20],
            "quarantined": feed_queries.quarantined(connection, reason=reason),
        }


def _health(page: PageContext) -> dict[str, Any]:
    at, hub = page.clock(), page.hub
    with page.pg.connection() as connection:
        well = page.wellbeing(connection)
        pushes = queries.newest_pushes(connection, list(hub.channels))
        day = periods.periods(
            connection,
            list(hub.channels),
            since=at - timedelta(days=1),
            until=at + periods.PERIOD,
            length=timedelta(minutes=30),
        )
    sparks = {
        channel: Markup(  # noqa: S704 - our own SVG
            charts.spark(
                [(p.begins_at, periods.percentile_s(p.event_steps, 0.95)) for p in told],
                label=f"{channel}: event to answer, p95 over the last day",
            )
        )
        for channel, told in day.items()
    }
    return {"well": well, "pushes": pushes, "sparks": sparks, "counted_late": timedelta(seconds=5)}


def _variances(page: PageContext, chosen: dict[str, str], *, closed: bool) -> dict[str, Any]:
    hub, at = page.hub, page.clock()
    age = AGES.get(chosen["older"])
    with page.pg.connection() as connection:
        groups = variance_queries.groups(connection)
        counts = periods.counted(connection, list(hub.channels))
        found = variance_queries.variances(
            connection,
            closed=closed,
            channel=chosen["channel"],
            cause=chosen["cause"],
            system=chosen["system"],
            seen_before=at - age if age else None,
        )
        days = variance_queries.days(
            connection, since=_floor(at, timedelta(days=1)) - timedelta(days=13)
        )
    whole = sum(group.count for group in groups if group.name == "cause")
    listings = {channel: one.listings for channel, one in counts.items()}
    return {
        "variances": found,
        "groups": [group for group in groups if group.name in ("cause", "channel", "system")],
        "systemic": variance_queries.systemic(groups, whole, listings),
        "whole": whole,
        "ages": [name for name in AGES if name],
        "causes": [cause.value for cause in Cause],
        "shown": variance_queries.SHOWN,
        "history": _history(days, at),
    }


def _history(days: list[tuple[datetime, int, int]], at: datetime) -> Markup:
    """Opened and closed variances of each of the last days."""
    until = _floor(at, timedelta(days=1)) + timedelta(days=1)
    return Markup(  # noqa: S704 - our own SVG
        charts.volume_chart(
            [(day, closed, opened) for day, opened, closed in days],
            since=until - timedelta(days=14),
            until=until,
            step=timedelta(days=1),
            names=("closed", "opened"),
            label="Variances that were opened and closed on each of the last 14 days",
        )
        if days
        else ""
    )


def _pushes(page: PageContext, channel: str) -> dict[str, Any]:
    hub = page.hub
    wanted = [channel] if channel in hub.channels else list(hub.channels)
    one = channel if channel in hub.channels else None
    with page.pg.connection() as connection:
        return {
            "breakers": [b for b in breakers.breakers(connection) if b.channel in wanted],
            "held_counts": {
                name: count
                for name, count in guard.held_counts(connection).items()
                if name in wanted
            },
            "held": guard.held_rows(connection, one, limit=SHOWN),
            "dead": dead.dead_rows(connection, one, limit=SHOWN),
            "failing": _failing(connection, wanted),
            "pushes": queries.newest_pushes(connection, wanted, limit=50),
        }


def _failing(connection: Connection, channels: list[str]) -> list[Any]:
    return queries.failing(connection, channels, limit=SHOWN)


def _latency(page: PageContext, span: str, channel: str) -> dict[str, Any]:
    at, hub = page.clock(), page.hub
    wanted = [channel] if channel in hub.channels else list(hub.channels)
    step = STEPS[span]
    since = _floor(at - SPANS[span], step)
    with page.pg.connection() as connection:
        told = periods.periods(
            connection, wanted, since=since, until=at + periods.PERIOD, length=step
        )
    until = _floor(at, step) + step
    return {
        "channels": [
            _drawn(
                name, told[name], since=since, until=until, step=step,
                mode=hub.channels[name].mode.value,
            )
            for name in wanted
        ]
    }  # fmt: skip


def _drawn(
    channel: str,
    told: list[periods.Period],
    *,
    since: datetime,
    until: datetime,
    step: timedelta,
    mode: str,
) -> dict[str, Any]:
    whole = periods.together(told)

    def line(name: str, kind: str, share: float) -> charts.Line:
        points = [(p.begins_at, periods.percentile_s(p.event_steps, share)) for p in told]
        return charts.Line(name=name, kind=kind, points=points)

    def over(share: float, *, event: bool) -> float | None:
        if whole is None:
            return None
        return periods.percentile_s(whole.event_steps if event else whole.answer_steps, share)

    event = charts.latency_chart(
        [line("p50", "p50", 0.5), line("p95", "p95", 0.95)],
        since=since,
        until=until,
        step=step,
        label=f"{channel}: from event to answer; p50 {present.latency(over(0.5, event=True))},"
        f" p95 {present.latency(over(0.95, event=True))} over the whole span",
    )
    volume = charts.volume_chart(
        [(p.begins_at, p.acked, p.failed) for p in told],
        since=since,
        until=until,
        step=step,
        label=f"{channel}: pushes that were acked, and that were not",
    )
    return {
        "channel": channel,
        "mode": mode,
        "whole": whole,
        "event": (over(0.5, event=True), over(0.95, event=True), over(0.99, event=True)),
        "answer": (over(0.5, event=False), over(0.95, event=False), over(0.99, event=False)),
        "charts": Markup(event + volume),  # noqa: S704 - our own SVG
    }


def _floor(at: datetime, step: timedelta) -> datetime:
    begin = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return begin + (at - begin) // step * step
