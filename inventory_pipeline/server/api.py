"""The JSON side: what a channel may sell, and whether the hub is well."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, StringConstraints

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.core.quantities import from_milli
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.server import listings, queries

MAX_LISTINGS = 500
MAX_PAGE = 5_000
MAX_OFFSET = 2**63 - 1

# Postgres cannot hold a NUL in a text, so no sku and no channel has one.
Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
SkuQuery = Annotated[Name | None, Query(description="our own sku")]
ChannelQuery = Annotated[Name | None, Query(description="a channel of hub.yaml")]


class Refusal(BaseModel):
    """`detail` says what was wrong, or `error` does, where the request was not let in at all."""

    detail: Any = None
    error: str | None = None


class Available(BaseModel):
    """What one listing may sell; quantities are exact decimal numbers in the channel's unit."""

    sku: str
    channel: str
    bucket: str = Field(description="the place within the channel that has its own quantity")
    external_id: str = Field(description="the channel's own name of the listing")
    available: str = Field(examples=["28", "1.25"])
    units: str = Field(description="base units in one unit of the channel", examples=["1", "12"])
    ledger_offset: int = Field(description="the ledger entry that this number came with")
    computed_at: datetime


class Availability(BaseModel):
    listings: list[Available]


class ListingPage(BaseModel):
    """One page of a channel. `next` goes on from here; null on the last page.

    `ledger_offset`: keep the one of the first page, and give it as `since` the next time.
    """

    channel: str
    ledger_offset: int
    listings: list[Available]
    next: str | None


class Health(BaseModel):
    """`status` is `ok` while Postgres answers; the rest is told to whoever may read.

    `behind` counts ledger entries that are not computed yet.
    """

    status: str
    hub: str | None = None
    ledger_offset: int | None = None
    sync_offset: int | None = None
    behind: int | None = None
    inbox_waiting: int | None = None
    computed_at: datetime | None = None
    error: str | None = None


_ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"description": "a token is needed", "model": Refusal},
    403: {"description": "this came from another site's page", "model": Refusal},
    404: {"description": "no such sku or channel", "model": Refusal},
    422: {"description": "a parameter is not as described", "model": Refusal},
    503: {"description": "Postgres does not answer", "model": Refusal},
}


def api_router(pg: Postgres, current_hub: Callable[[], Hub]) -> APIRouter:
    """All routes read Postgres only."""
    router = APIRouter(prefix="/v1")
    _add_availability(router, pg, current_hub)
    _add_bulk(router, pg, current_hub)
    _add_health(router, pg, current_hub)
    return router


def _add_availability(router: APIRouter, pg: Postgres, current_hub: Callable[[], Hub]) -> None:
    @router.get(
        "/ats",
        summary="What a channel may sell now",
        description=f"Of a sku, of a channel, or of both; at most {MAX_LISTINGS} listings.",
        tags=["availability"],
        responses=_ANSWERS,
    )
    def ats(sku: SkuQuery = None, channel: ChannelQuery = None) -> Availability:
        if not sku and not channel:
            raise HTTPException(422, "name a sku, a channel, or both")
        _require_channel(current_hub(), channel)
        with pg.connection() as connection:
            found = listings.listings_of(
                connection, sku=sku or None, channel=channel or None, limit=MAX_LISTINGS
            )
        if sku and not found:
            raise HTTPException(404, f"no listing of {sku!r}")
        return Availability(listings=[_available(row) for row in found])


def _add_bulk(router: APIRouter, pg: Postgres, current_hub: Callable[[], Hub]) -> None:
    @router.get(
        "/channels/{channel}/ats",
        summary="What a whole channel may sell, in pages, or what changed since an offset",
        description=(
            "For storefronts. Read all pages once; then ask with `since` = the `ledger_offset` of "
            "the first page. A listing that changed at just that offset comes again: the newer "
            "`computed_at` counts. With `If-None-Match` an unchanged page is answered with 304."
        ),
        tags=["availability"],
        response_model=ListingPage,
        responses={**_ANSWERS, 304: {"description": "as it was: nothing changed on this page"}},
    )
    def bulk(
        channel: Annotated[Name, Path(description="a channel of hub.yaml")],
        since: Annotated[
            int | None,
            Query(ge=0, le=MAX_OFFSET, description="only what changed at or after this offset"),
        ] = None,
        after: Annotated[
            str | None, Query(max_length=2_000, description="`next` of the page before")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="listings a page")] = 1_000,
        if_none_match: Annotated[
            str | None, Header(max_length=2_000, description="`ETag` of an answer before")
        ] = None,
    ) -> Response:
        _require_channel(current_hub(), channel)
        with pg.connection() as connection:
            head, rows = listings.page_of(
                connection, channel, since=since, after=_place(after), limit=limit + 1
            )
        shown = rows[:limit]
        page = ListingPage(
            channel=channel,
            ledger_offset=head,
            listings=[_available(row) for row in shown],
            next=_cursor(shown[-1]) if len(rows) > limit else None,
        )
        etag = _etag(page)
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if if_none_match and (if_none_match.strip() == "*" or etag in if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(page.model_dump_json(), media_type="application/json", headers=headers)


def _add_health(router: APIRouter, pg: Postgres, current_hub: Callable[[], Hub]) -> None:
    @router.get(
        "/health",
        summary="Whether the hub is well",
        description="For probes: needs no token, and tells strangers the status only.",
        tags=["health"],
        responses={
            403: {"description": "this came from another site's page", "model": Refusal},
            503: {"description": "Postgres does not answer", "model": Health},
        },
        response_model=Health,
    )
    def health(request: Request) -> Health | JSONResponse:
        person = getattr(request.state, "person", None)
        try:
            with pg.connection() as connection:
                sync = queries.sync_state(connection)
        except PostgresUnavailable as error:
            status: dict[str, str] = {"status": "postgres unavailable"}
            if person is not None:
                status["error"] = str(error)
            return JSONResponse(status, 503)
        if person is None:
            return Health(status="ok")
        return Health(
            status="ok",
            hub=current_hub().name,
            ledger_offset=sync.ledger_head,
            sync_offset=sync.sync_offset,
            behind=sync.behind,
            inbox_waiting=sync.inbox_waiting,
            computed_at=sync.computed_at,
        )


def _require_channel(hub: Hub, channel: str | None) -> None:
    if channel and channel not in hub.channels:
        raise HTTPException(404, f"no channel {channel!r} in this hub")


def _available(row: listings.Offer) -> Available:
    return Available(
        sku=row.sku,
        channel=row.channel,
        bucket=row.bucket,
        external_id=row.external_id,
        available=f"{from_milli(row.desired_milli):f}",
        units=f"{from_milli(row.units_milli):f}",
        ledger_offset=row.desired_offset,
        computed_at=row.computed_at,
    )


def _etag(page: ListingPage) -> str:
    """Of what a storefront shows: a later offset alone is no news."""
    told = page.model_dump_json(include={"channel", "listings", "next"})
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def _cursor(row: listings.Offer) -> str:
    place = json.dumps([row.desired_offset, row.bucket, row.external_id], ensure_ascii=False)
    return base64.urlsafe_b64encode(place.encode()).decode()


def _place(cursor: str | None) -> listings.Place | None:
    """The listing after which a page begins. Raises 422 for a cursor that is none of ours."""
    if cursor is None:
        return None
    try:
        offset, bucket, external_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError) as error:
        raise HTTPException(422, "after: give `next` of the page before, as it is") from error
    texts = isinstance(bucket, str) and isinstance(external_id, str)
    if not texts or type(offset) is not int or not 0 <= offset <= MAX_OFFSET:
        raise HTTPException(422, "after: give `next` of the page before, as it is")
    if "\0" in bucket + external_id:
        raise HTTPException(422, "after: give `next` of the page before, as it is")
    return offset, bucket, external_id
