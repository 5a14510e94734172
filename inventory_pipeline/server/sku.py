"""The SKU page: what every channel may sell, as a picture; on whose word; what happened."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.flow.waterfall import Line, worth_saying
from inventory_pipeline.flow.why import BucketWhy, Why, why
from inventory_pipeline.memory import guard
from inventory_pipeline.server import charts, queries, sku_queries, variance_queries
from inventory_pipeline.server.render import PageContext, Renderer

# Explaining computes: so many at once, the others wait.
AT_ONCE = 2
KEPT = 64
# The timeline begins with so many; a link tells the others.
TOLD_AT_FIRST = 20
# The newest moment moves by itself: reservations end, rules begin.
FRESH = timedelta(seconds=10)
SAID = {
    "on_hand": "on hand",
    "quality_control": "quality control",
    "safety_stock": "safety stock",
    "location_reserve": "reserve of the location",
    "sellable": "sellable",
    "components": "can be put together",
    "unassigned": "promised, place open",
    "network_safety_stock": "safety stock, network",
    "protected_for_others": "kept for other channels",
    "min_display": "shown from",
    "exclude": "excluded",
    "available": "may be sold",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An explanation, or why there is none."""

    why: Why | None
    problem: str = ""


@dataclass(slots=True)
class Explanations:
    """Explains skus, a few at once, and keeps the newest answers while they hold."""

    page: PageContext
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))
    _kept: OrderedDict[tuple[Any, ...], tuple[datetime, Told]] = field(default_factory=OrderedDict)

    def of(self, sku: str, *, at: datetime | None, offset: int | None, head: int) -> Told:
        """The sku at a moment of the ledger, or now."""
        hub, now = self.page.hub, self.page.clock()
        key = (sku, at, offset, head, hub.policy_hash, hub.catalog_hash)
        known = self._kept.get(key)
        if known is not None and now - known[0] < FRESH:
            return known[1]
        with self._room:
            told = self._explained(sku, at, offset)
        self._kept[key] = (now, told)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return told

    def _explained(self, sku: str, at: datetime | None, offset: int | None) -> Told:
        hub, ctx = self.page.hub, self.page.ctx
        try:
            answer = why(
                self.page.pg, ctx.state, hub.folder, sku,
                clock=ctx.clock, environ=os.environ, at=at, offset=offset, known=hub,
            )  # fmt: skip
        except HubError as error:
            return Told(why=None, problem=str(error))
        return Told(why=answer)


def sku_router(page: PageContext, draw: Renderer) -> APIRouter:
    """`/sku`: the search; `/sku/…`: one of them."""
    router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    explanations = Explanations(page)

    @router.get("/sku", response_model=None)
    def search(request: Request, sku: str = Query("", max_length=200)) -> Response:
        wanted = sku.strip()
        if wanted in page.hub.catalog.items:
            return RedirectResponse(_address(wanted), status_code=303)
        with page.pg.connection() as connection:
            if wanted and "\0" not in wanted and queries.known_sku(connection, wanted):
                return RedirectResponse(_address(wanted), status_code=303)
        hits = page.search.find(wanted)
        if len(hits) == 1:
            return RedirectResponse(_address(hits[0].sku), status_code=303)
        return draw(request, "search.html", wanted=wanted, hits=hits)

    @router.get("/sku/{sku:path}", response_model=None)
    def one_sku(
        request: Request, sku: str, at: str = "", offset: str = "", story: str = ""
    ) -> Response:
        return _one(
            page, draw, explanations, request, sku, at=at, offset=offset, whole=story == "all"
        )

    return router


def _one(
    page: PageContext, draw: Renderer, explanations: Explanations, request: Request, sku: str,
    *, at: str, offset: str, whole: bool,
) -> Response:  # fmt: skip
    item = page.hub.catalog.items.get(sku)
    moment, number, problem = _moment(at, offset)
    with page.pg.connection() as connection:
        if item is None and ("\0" in sku or not queries.known_sku(connection, sku)):
            hits = page.search.find(sku)
            return draw(request, "search.html", status_code=404, wanted=sku, hits=hits)
        head = queries.sync_state(connection).ledger_head
        values = {
            "sku": sku,
            "item": item,
            "listings": sku_queries.listings_of(connection, sku),
            "entries": sku_queries.entries_of(connection, sku),
            "pushes": queries.pushes_of(connection, sku),
            "variances": variance_queries.variances(connection, sku=sku),
            "closed": variance_queries.variances(connection, sku=sku, closed=True, limit=10),
            "held": guard.held_rows(connection, sku=sku, limit=100),
        }

    def explained() -> Told:
        if problem:
            return Told(why=None, problem=problem)
        return explanations.of(sku, at=moment, offset=number, head=head)

    return draw.streamed(
        request, "sku.html", head=head, past=bool(at or offset),
        at=f"{moment:%Y-%m-%dT%H:%M:%S}" if moment else "", offset=number or "",
        explain=explained, picture=picture, terms=SAID, said_lines=said_lines,
        story=_story, whole=whole, told_at_first=TOLD_AT_FIRST, **values,
    )  # fmt: skip


def _moment(at: str, offset: str) -> tuple[datetime | None, int | None, str]:
    """The moment that `?at=` or `?offset=` name, or what is wrong with them."""
    try:
        moment = datetime.fromisoformat(at) if at else None
        number = int(offset) if offset else None
    except ValueError:
        return None, None, "a moment is a time like 2026-03-02T08:00Z, or a ledger offset"
    if number is not None and not 0 < number < 2**63:
        return None, None, "the ledger's offsets begin at 1"
    # A form's datetime field has no zone; all times of these pages are UTC.
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment is not None:
        moment = moment.astimezone(UTC)
    return moment, number, ""


def picture(bucket: BucketWhy) -> Markup:
    """The waterfall of one bucket: from what the shelves hold to what may be sold."""
    bars = list(_bars(bucket))
    label = f"How {bucket.channel} comes to what it may sell: " + "; ".join(
        f"{bar.name} {charts.told(bar)}" for bar in bars
    )
    return Markup(charts.waterfall(bars, label=label))  # noqa: S704 - our own SVG, names escaped


def _bars(bucket: BucketWhy) -> Iterator[charts.Bar]:
    left = 0
    for term, change in _shelf(bucket).items():
        if change or term == "on_hand":
            yield charts.Bar(
                name=SAID.get(term, term), note="", before_milli=left, after_milli=left + change
            )
        left += change
    for line in bucket.lines:
        total = line.term in ("sellable", "components", "available")
        if worth_saying(line):
            yield charts.Bar(
                name=SAID.get(line.term, line.term),
                note=", ".join([*line.rules, line.note] if line.note else line.rules),
                before_milli=line.after_milli - line.change_milli,
                after_milli=line.after_milli,
                total=total,
            )


def _shelf(bucket: BucketWhy) -> Mapping[str, int]:
    """What each state takes, over all locations of the bucket."""
    sums: dict[str, int] = {}
    for place in bucket.locations:
        for line in place.lines:
            sums[line.term] = sums.get(line.term, 0) + line.change_milli
    return sums


def said_lines(lines: tuple[Line, ...]) -> list[Line]:
    """Those that changed something, or that a rule brought in."""
    return [line for line in lines if worth_saying(line)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line of the timeline: an entry of the ledger, or a push; `row` is which."""

    at: datetime
    kind: str
    row: Any


def _story(entries: list[Any], pushes: list[Any]) -> list[Happening]:
    """Events and pushes in one line of time, the newest first."""
    told = [Happening(at=entry.received_at, kind="entry", row=entry) for entry in entries]
    told += [Happening(at=push.sent_at, kind="push", row=push) for push in pushes]
    # Where one list reaches further back than the other, the rest would look like silence.
    ends = [rows[-1] for rows in (told[: len(entries)], told[len(entries) :]) if len(rows) >= 50]
    begin = max((end.at for end in ends), default=None)
    told = [one for one in told if begin is None or one.at >= begin]
    return sorted(told, key=lambda one: one.at, reverse=True)


def _address(sku: str) -> str:
    from urllib.parse import quote

    return f"/sku/{quote(sku, safe='')}"
