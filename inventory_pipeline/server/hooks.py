"""`POST /hooks/{system}`: a webhook is verified, made durable, and only then answered.

`GET` answers those systems that ask whose address it is, where their connector knows what to say.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any

import psycopg
import structlog
from starlette.responses import JSONResponse, Response

from inventory_pipeline.core.errors import PostgresUnavailable, SystemFailure, WebhookRefused
from inventory_pipeline.core.ports import (
    Answer,
    Challenged,
    Clock,
    Connector,
    Delivery,
    Verified,
)
from inventory_pipeline.server.intake import Accepted, GroupedInbox, InboxFull
from inventory_pipeline.server.rates import Rate
from inventory_pipeline.server.verifying import NotVerified, Verifying

PREFIX = "/hooks/"
CORRELATION = "X-Correlation-Id"  # by which logs and `inventory-pipeline trace` know a delivery
MAX_BODY_BYTES = 2 * 1024 * 1024
RETRY_AFTER_S = 5
# A signed time may be off by this much: clocks differ, and deliveries take a while.
REPLAY_WINDOW = timedelta(minutes=5)
# Per system: far above what a shop sends, and low enough that one system's flood leaves room.
DELIVERIES_PER_S = 2_000.0
DELIVERIES_BURST = 20_000.0
# Per system and sender: who guesses signatures is not even read any more.
FORGERIES_PER_S = 5.0
FORGERIES_BURST = 100.0
ANSWERS = {
    200: "durable",
    400: "the headers or the body cannot be stored",
    401: "the signature does not fit the body, or its time is too far off",
    403: "the system has no secret to check signatures with",
    404: "no system of this name takes webhooks",
    405: "anything but POST, and GET from a system that asks whose address it is",
    413: f"the body is larger than {MAX_BODY_BYTES} bytes",
    429: "too many at once: send it again after Retry-After seconds",
    503: "not checked or not stored: send it again after Retry-After seconds",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = structlog.get_logger("receiver")


class SenderGone(Exception):
    """The connection ended in the middle of the body."""


class BodyTooLarge(Exception):
    """More bytes than MAX_BODY_BYTES, announced or sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one system may send, and what one sender may get wrong."""

    deliveries: Rate
    forgeries: Rate


def usual_limits() -> Limits:
    return Limits(
        deliveries=Rate(per_second=DELIVERIES_PER_S, burst=DELIVERIES_BURST),
        forgeries=Rate(per_second=FORGERIES_PER_S, burst=FORGERIES_BURST),
    )


class Receiver:
    """The receiver as an ASGI application. Reading of what was delivered happens afterwards.

    It stands before the router: thousands of deliveries a second have no time for one.
    """

    def __init__(
        self,
        connectors: Mapping[str, Connector],
        group: GroupedInbox,
        clock: Clock,
        limits: Limits | None = None,
    ) -> None:
        self._connectors = connectors
        self._group = group
        self._clock = clock
        self._within = limits or usual_limits()
        self._verifying = Verifying()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        system = scope["path"].removeprefix(PREFIX)
        connector = self._connectors.get(system)
        if connector is None or not connector.capabilities.webhooks:
            return _refused(404, "no system of this name takes webhooks here")
        asks = scope["method"] == "GET" and isinstance(connector, Challenged)
        if scope["method"] != "POST" and not asks:
            return _refused(405, "deliveries are posted", Allow="POST")
        return await self._admitted(connector, scope, receive, asks=asks)

    async def _admitted(
        self, connector: Connector, scope: Scope, receive: Receive, *, asks: bool
    ) -> Response:
        """Whoever has not sent too much already is read."""
        system = connector.system
        client = scope.get("client")
        sender = f"{system} {client[0] if client else ''}"
        wait_s = self._within.forgeries.wait_s(sender) or self._within.deliveries.take(system)
        if wait_s:
            return _later(429, "too many at once: send it again", wait_s)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        try:
            body = await _body(headers, receive)
        except BodyTooLarge:
            log.warning("webhook refused", system=system, status=413, why="too large")
            return _refused(413, f"a delivery may have {MAX_BODY_BYTES} bytes")
        except SenderGone:
            return _refused(400, "the sender hung up")
        delivery = Delivery(
            headers=headers, body=body, received_at=self._clock(), url=_url(scope, headers)
        )
        if asks:
            return self._challenged(connector, delivery, sender)
        return await self._accept(connector, delivery, sender)

    async def _accept(self, connector: Connector, delivery: Delivery, sender: str) -> Response:
        system = connector.system
        try:
            if connector.capabilities.slow_verify:
                verified = await self._verifying.verify(connector, delivery)
            else:
                verified = connector.verify(delivery)
            _require_recent(verified, delivery, system)
        except WebhookRefused as error:
            why = "the delivery was refused: its signature does not fit"
            return self._forged(error, sender, why)
        except (NotVerified, SystemFailure) as error:
            log.warning("webhook not checked", system=system, status=503, why=str(error))
            return _later(503, "not checked: send it again", RETRY_AFTER_S)
        if not verified.keep:
            return _told(verified.answer, {})
        accepted = Accepted(system=system, verified=verified, delivery=delivery)
        return await _keep(self._group, accepted)

    def _challenged(self, connector: Connector, asked: Delivery, sender: str) -> Response:
        """A GET by which a system finds out whether the address is ours; nothing is kept."""
        assert isinstance(connector, Challenged)
        try:
            return _told(connector.challenge(asked), {})
        except WebhookRefused as error:
            return self._forged(error, sender, "it asks nothing that is answered here")

    def _forged(self, error: WebhookRefused, sender: str, message: str) -> Response:
        self._within.forgeries.take(sender)
        log.warning("webhook refused", system=error.system, status=error.status, why=error.message)
        return _refused(error.status, message)


def described() -> dict[str, Any]:
    """The route as OpenAPI tells it. What a GET answers belongs to its system alone."""
    return {
        "post": {
            "tags": ["webhooks"],
            "summary": "Receive a webhook",
            "description": "The body is kept byte by byte and is durable when the answer is 200.",
            "operationId": "receive",
            "parameters": [
                {
                    "name": "system", "in": "path", "required": True,
                    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
                    "description": "a system of hub.yaml",
                }
            ],
            "responses": {
                str(status): {"description": says, "content": {"application/json": {"schema": {}}}}
                for status, says in ANSWERS.items()
            },
        }
    }  # fmt: skip


def _require_recent(verified: Verified, delivery: Delivery, system: str) -> None:
    """A delivery that was recorded and is sent again later is not believed."""
    if verified.signed_at is None:
        return
    off = abs(delivery.received_at - verified.signed_at)
    if off > REPLAY_WINDOW:
        raise WebhookRefused(
            f"it was signed {off} from now: more than {REPLAY_WINDOW}",
            system=system,
            hint="compare the clocks of this machine and of the sender.",
        )


async def _keep(group: GroupedInbox, accepted: Accepted) -> Response:
    try:
        await group.put(accepted)
    except (PostgresUnavailable, InboxFull):
        return _later(503, "not stored: send it again", RETRY_AFTER_S)
    except psycopg.DataError:
        log.warning("webhook refused", system=accepted.system, status=400, why="cannot be stored")
        return _refused(400, "the headers or the body cannot be stored")
    return _told(accepted.verified.answer, {CORRELATION: accepted.correlation_id})


def _told(answer: Answer | None, headers: dict[str, str]) -> Response:
    """The 200: what the system wants to read, or what the receiver says to everybody else."""
    if answer is None:
        return JSONResponse({"received": True}, headers=headers)
    # What a challenge gives back is never taken for a page.
    headers = headers | {"X-Content-Type-Options": "nosniff"}
    return Response(answer.body, media_type=answer.content_type, headers=headers)


async def _body(headers: Mapping[str, str], receive: Receive) -> bytes:
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise BodyTooLarge
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise SenderGone
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return bytes(body)


def _url(scope: Scope, headers: Mapping[str, str]) -> str:
    """The address as the sender wrote it: some sign it together with the body."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string", b"")
    address = f"{scope['scheme']}://{headers.get('host', '')}{path.decode('latin-1')}"
    return f"{address}?{query.decode('latin-1')}" if query else address


def _later(status: int, message: str, wait_s: float) -> Response:
    headers = {"Retry-After": str(max(1, ceil(wait_s)))}
    return JSONResponse({"error": message}, status_code=status, headers=headers)


def _refused(status: int, message: str, **headers: str) -> Response:
    return JSONResponse({"error": message}, status_code=status, headers=headers)
