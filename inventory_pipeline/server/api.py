"""The JSON side: what a channel may sell, and whether the hub is well."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.core.quantities import from_milli
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.server import queries, rows

MAX_LISTINGS = 500

SkuQuery = Annotated[str | None, Query(max_length=200, description="our own sku")]
ChannelQuery = Annotated[str | None, Query(max_length=200, description="a channel of hub.yaml")]


class Available(BaseModel):
    """What one listing may sell; quantities are exact decimal numbers in the channel's unit."""

    sku: str
    channel: str
    bucket: str
    external_id: str
    available: str = Field(examples=["28", "1.25"])
    units: str = Field(description="base units in one unit of the channel", examples=["1", "12"])
    ledger_offset: int
    computed_at: datetime


class Availability(BaseModel):
    listings: list[Available]


class Health(BaseModel):
    """`status` is `ok` while Postgres answers; `behind` counts ledger entries not computed yet."""

    status: str
    hub: str
    ledger_offset: int
    sync_offset: int
    behind: int
    inbox_waiting: int
    computed_at: datetime | None


def api_router(pg: Postgres, *, hub: str, channels: Mapping[str, object]) -> APIRouter:
    """Both routes read Postgres only."""
    router = APIRouter(prefix="/v1", tags=["availability"])

    @router.get("/ats", summary="What a channel may sell now")
    def ats(sku: SkuQuery = None, channel: ChannelQuery = None) -> Availability:
        if sku is None and channel is None:
            raise HTTPException(422, "name a sku, a channel, or both")
        if channel is not None and channel not in channels:
            raise HTTPException(404, f"no channel {channel!r} in this hub")
        with pg.connection() as connection:
            found = queries.listings_of(connection, sku=sku, channel=channel, limit=MAX_LISTINGS)
        if sku is not None and not found:
            raise HTTPException(404, f"no listing of {sku!r}")
        return Availability(listings=[_available(row) for row in found])

    @router.get(
        "/health",
        summary="Whether the hub is well",
        responses={503: {"description": "Postgres does not answer"}},
        response_model=Health,
    )
    def health() -> Health | JSONResponse:
        try:
            with pg.connection() as connection:
                sync = queries.sync_state(connection)
        except PostgresUnavailable as error:
            return JSONResponse({"status": "postgres unavailable", "error": str(error)}, 503)
        return Health(
            status="ok",
            hub=hub,
            ledger_offset=sync.ledger_head,
            sync_offset=sync.sync_offset,
            behind=sync.behind,
            inbox_waiting=sync.inbox_waiting,
            computed_at=sync.computed_at,
        )

    return router


def _available(row: rows.ListingState) -> Available:
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
