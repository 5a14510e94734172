"""`POST /hooks/{system}`: a webhook is verified, made durable, and only then answered."""

from collections.abc import Mapping
from typing import Annotated

import psycopg
import structlog
from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from inventory_pipeline.core.errors import PostgresUnavailable, WebhookRefused
from inventory_pipeline.core.ports import Clock, Connector, Delivery
from inventory_pipeline.server.intake import Accepted, GroupedInbox, InboxFull

MAX_BODY_BYTES = 2 * 1024 * 1024
RETRY_AFTER_S = 5

log = structlog.get_logger("receiver")


class BodyTooLarge(Exception):
    """More bytes than MAX_BODY_BYTES, announced or sent."""


def hooks_router(
    connectors: Mapping[str, Connector], group: GroupedInbox, clock: Clock
) -> APIRouter:
    """The receiver's one route. Reading of what was delivered happens afterwards."""
    router = APIRouter(tags=["webhooks"])

    @router.post(
        "/hooks/{system}",
        summary="Receive a webhook",
        responses={
            401: {"description": "the signature does not fit the body"},
            404: {"description": "no system of this name takes webhooks"},
            413: {"description": f"the body is larger than {MAX_BODY_BYTES} bytes"},
            503: {"description": "not stored: send it again after Retry-After seconds"},
        },
    )
    async def receive(
        request: Request, system: Annotated[str, Path(description="a system of hub.yaml")]
    ) -> JSONResponse:
        connector = connectors.get(system)
        if connector is None or not connector.capabilities.webhooks:
            return _refused(404, f"no system {system!r} takes webhooks here")
        try:
            body = await _body(request)
        except BodyTooLarge:
            log.warning("webhook refused", system=system, status=413, why="too large")
            return _refused(413, f"a delivery may have {MAX_BODY_BYTES} bytes")
        delivery = Delivery(
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            received_at=clock(),
            url=str(request.url),
        )
        try:
            verified = connector.verify(delivery)
        except WebhookRefused as error:
            log.warning("webhook refused", system=system, status=error.status, why=error.message)
            return _refused(error.status, "the delivery was refused: its signature does not fit")
        return await _keep(group, Accepted(system=system, verified=verified, delivery=delivery))

    return router


async def _keep(group: GroupedInbox, accepted: Accepted) -> JSONResponse:
    try:
        await group.put(accepted)
    except (PostgresUnavailable, InboxFull):
        return _refused(503, "not stored: send it again", {"Retry-After": str(RETRY_AFTER_S)})
    except psycopg.DataError:
        log.warning("webhook refused", system=accepted.system, status=400, why="cannot be stored")
        return _refused(400, "the headers or the body cannot be stored")
    return JSONResponse({"received": True})


async def _body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise BodyTooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
    return bytes(body)


def _refused(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status, headers=dict(headers or {}))
