"""The operators' pages: server-rendered, no JavaScript, each one look at Postgres."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from inventory_pipeline.config.policy import Channel, Hub, System
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.server import present, queries, rows

TEMPLATES = Path(__file__).with_name("templates")
STATIC = Path(__file__).with_name("static")

Search = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """What every page is drawn from."""

    hub: Hub
    pg: Postgres
    clock: Clock
    dagster_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCard:
    policy: Channel
    state: rows.ChannelState

    @property
    def level(self) -> str:
        """good, warning or bad: the colour and the word of the card's badge."""
        if self.state.dead or self.state.failed:
            return "bad"
        if self.state.open_variances or self.state.in_sync < self.state.listings:
            return "warning"
        return "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLine:
    policy: System
    state: rows.SystemState
    feeds: list[rows.FeedState]
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
    def stale(self) -> bool:
        """Its newest snapshot is older than max_age allows."""
        return self.age is not None and self.age > self.policy.snapshot.max_age

    @property
    def level(self) -> str:
        """good, warning or bad."""
        if self.failure is not None:
            return "bad"
        return "warning" if self.stale or self.state.quarantined else "good"


def pages_router(page: PageContext, openapi: Callable[[], dict[str, Any]]) -> APIRouter:
    """Health, SKU, variances, feeds, and the API as `openapi` describes it."""
    router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    draw = _Renderer(page)

    @router.get("/")
    def health() -> HTMLResponse:
        return draw("health.html", **_health(page))

    @router.get("/sku", response_model=None)
    def search(sku: Search = "") -> HTMLResponse | RedirectResponse:
        from urllib.parse import quote

        if sku.strip():
            return RedirectResponse(f"/sku/{quote(sku.strip(), safe='')}", status_code=303)
        return RedirectResponse("/", status_code=303)

    @router.get("/sku/{sku:path}")
    def one_sku(sku: str) -> HTMLResponse:
        return _sku(page, draw, sku)

    @router.get("/variances")
    def variances(channel: Search = "", cause: Search = "") -> HTMLResponse:
        with page.pg.connection() as connection:
            found = queries.open_variances(connection, channel=channel or None, cause=cause or None)
            causes = queries.variance_causes(connection)
        return draw("variances.html", variances=found, causes=causes, channel=channel, cause=cause)

    @router.get("/feeds")
    def feeds() -> HTMLResponse:
        with page.pg.connection() as connection:
            return draw(
                "feeds.html",
                feeds=queries.feed_states(connection),
                rejected=queries.newest_snapshots(connection, status="rejected"),
                snapshots=queries.newest_snapshots(connection),
                quarantined=queries.quarantined(connection),
            )

    @router.get("/docs")
    def docs() -> HTMLResponse:
        return draw("docs.html", api=openapi())

    return router


class _Renderer:
    """Templates with the filters and names that each of them uses."""

    def __init__(self, page: PageContext) -> None:
        self._page = page
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            quantity=present.quantity,
            count=present.count,
            latency=present.latency,
            moment=present.moment,
            age_of=present.age_of,
        )
        self._environment.globals.update(percent=present.percent)

    def __call__(self, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        now = self._page.clock()
        text = self._environment.get_template(template).render(
            hub=self._page.hub,
            dagster=self._page.dagster_url.rstrip("/"),
            now=now,
            ago=lambda then: present.age(then, now),
            **values,
        )
        return HTMLResponse(text, status_code=status_code)


def _health(page: PageContext) -> dict[str, Any]:
    at = page.clock()
    channels = list(page.hub.channels)
    with page.pg.connection() as connection:
        channel_states = queries.channel_states(connection, channels, at=at)
        systems = queries.system_states(connection, list(page.hub.systems))
        feeds = queries.feed_states(connection)
        pushes = queries.newest_pushes(connection, channels)
        sync = queries.sync_state(connection)
    return {
        "sync": sync,
        "channels": [
            ChannelCard(policy=page.hub.channels[state.channel], state=state)
            for state in channel_states
        ],
        "systems": [
            SystemLine(
                policy=page.hub.systems[state.system],
                state=state,
                feeds=[feed for feed in feeds if feed.system == state.system],
                at=at,
            )
            for state in systems
        ],
        "pushes": pushes,
    }


def _sku(page: PageContext, draw: _Renderer, sku: str) -> HTMLResponse:
    item = page.hub.catalog.items.get(sku)
    with page.pg.connection() as connection:
        if item is None and not queries.known_sku(connection, sku):
            return draw("unknown_sku.html", status_code=404, sku=sku)
        return draw(
            "sku.html",
            sku=sku,
            item=item,
            listings=queries.listings_of(connection, sku=sku),
            positions=queries.last_entry_by_location(connection, sku),
            entries=queries.entries_of(connection, sku),
            pushes=queries.pushes_of(connection, sku),
            variances=queries.open_variances(connection, sku=sku),
        )
