"""What stands before every call of the simulated Selling Partner API: tokens, rates and faults.

A token of Login with Amazon lives `token_s` seconds; every operation has the bucket of its usage
plan. `Faults` of the storefront strike here, and `html` answers with a page as a proxy would.
"""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inventory_pipeline.core.ports import Clock
from inventory_pipeline.simulate.shop import parse_time
from inventory_pipeline.simulate.storefront import Faults

Node = dict[str, Any]
Work = Callable[[Request], Awaitable[Response]]
NAMES = uuid.UUID("0d8a3c52-6a5e-4f0b-9b53-0a5f7a9b1c10")
TABLES = """
CREATE TABLE IF NOT EXISTS amazon_tokens (token TEXT PRIMARY KEY, ends_at TEXT NOT NULL);
"""
# Operation → (rate a second, burst): the usage plans.
PLANS: dict[str, tuple[float, float]] = {
    "getListingsItem": (5, 10),
    "searchListingsItems": (5, 5),
    "patchListingsItem": (5, 5),
    "createFeed": (0.0083, 15),
    "createFeedDocument": (0.5, 15),
    "getFeed": (2, 15),
    "getFeeds": (0.0222, 10),
    "getFeedDocument": (0.0222, 10),
    "getInventorySummaries": (2, 2),
    "searchOrders": (0.0056, 20),
    "getOrder": (0.5, 30),
}


class SpError(Exception):
    """An answer in the API's shape of errors."""

    def __init__(self, status: int, code: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"errors": [{"code": code, "message": message, "details": details}]}


@dataclass(slots=True)
class Rates:
    """Buckets of all operations; `generous` multiplies rate and burst, for hurried tests."""

    clock: Clock
    generous: float = 1.0
    levels: dict[str, tuple[float, float]] = field(default_factory=dict)  # units, filled at

    def rate(self, operation: str) -> float:
        return PLANS[operation][0] * self.generous

    def take(self, operation: str) -> bool:
        """Takes one unit, or says False and takes none."""
        burst = PLANS[operation][1] * self.generous
        now = self.clock().timestamp()
        units, filled_at = self.levels.get(operation, (burst, now))
        units = min(burst, units + (now - filled_at) * self.rate(operation))
        taken = units >= 1
        self.levels[operation] = (units - 1 if taken else units, now)
        return taken


class Door:
    """Gives tokens, and lets calls with a good one in."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        token_s: float,
        rates: Rates,
        faults: Faults,
        clock: Clock,
    ) -> None:
        self.connection = connection
        self.client_id = client_id
        self.client_secret = client_secret
        self.refresh_token = refresh_token
        self.token_s = token_s
        self.rates = rates
        self.faults = faults
        self.clock = clock
        self.calls: dict[str, int] = {}
        connection.executescript(TABLES)

    def routes(self) -> list[Route]:
        return [
            Route("/auth/o2/token", self.give, methods=["POST"]),
            Route("/control/expire", self.expire, methods=["POST"]),
            Route("/control/calls", self.counted, methods=["GET"]),
        ]

    async def give(self, request: Request) -> Response:
        """A token for the right credentials, as Login with Amazon answers."""
        self._count("token")
        form = {
            name: values[0] for name, values in parse_qs((await request.body()).decode()).items()
        }
        if (form.get("client_id"), form.get("client_secret")) != (
            self.client_id,
            self.client_secret,
        ):
            return _lwa_error(401, "invalid_client", "Client authentication failed")
        if form.get("grant_type") != "refresh_token":
            return _lwa_error(400, "unsupported_grant_type", "The grant type is not supported")
        if form.get("refresh_token") != self.refresh_token:
            return _lwa_error(400, "invalid_grant", "The request has an invalid grant parameter")
        (count,) = self.connection.execute("SELECT count(*) FROM amazon_tokens").fetchone()
        token = f"Atza|{uuid.uuid5(NAMES, str(count)).hex}"
        ends_at = self.clock() + timedelta(seconds=self.token_s)
        self.connection.execute(
            "INSERT INTO amazon_tokens VALUES (?, ?)", (token, ends_at.isoformat())
        )
        body = {
            "access_token": token,
            "refresh_token": self.refresh_token,
            "token_type": "bearer",
            "expires_in": int(self.token_s) or self.token_s,
        }
        return JSONResponse(body)

    async def expire(self, _request: Request) -> Response:
        """Ends all tokens that are out now."""
        self.connection.execute("UPDATE amazon_tokens SET ends_at = ?", (self.clock().isoformat(),))
        return JSONResponse({"expired": True})

    async def counted(self, _request: Request) -> Response:
        """Calls by operation, refused ones too."""
        return JSONResponse(self.calls)

    def guarded(self, operation: str, work: Work, *, write: bool = False) -> Work:
        """`work` behind token, rate and fault; its errors in the API's shape."""

        async def answer(request: Request) -> Response:
            self._count(operation)
            try:
                self._admit(request)
                if not self.rates.take(operation):
                    raise SpError(  # noqa: TRY301
                        429, "QuotaExceeded", "You exceeded your quota for the requested resource."
                    )
                done = await self._met(work, request, write=write)
            except SpError as error:
                done = JSONResponse(error.body, status_code=error.status)
            done.headers["x-amzn-RequestId"] = str(uuid.uuid4())
            if done.status_code < 300:
                done.headers["x-amzn-RateLimit-Limit"] = str(self.rates.rate(operation))
            return done

        return answer

    async def _met(self, work: Work, request: Request, *, write: bool) -> Response:
        fault = self.faults.next(write=write)
        if fault == "throttle":
            raise SpError(
                429, "QuotaExceeded", "You exceeded your quota for the requested resource."
            )
        if fault == "fail":
            raise SpError(500, "InternalFailure", "We encountered an internal error. Please retry.")
        done = await work(request)
        if fault == "timeout_after_apply":
            await asyncio.sleep(self.faults.seconds)
            return Response("<html>Gateway Timeout</html>", 504)
        return done

    def _admit(self, request: Request) -> None:
        given = request.headers.get("x-amz-access-token", "")
        row = self.connection.execute(
            "SELECT ends_at FROM amazon_tokens WHERE token = ?", (given,)
        ).fetchone()
        message = "Access to requested resource is denied."
        if row is None:
            raise SpError(403, "Unauthorized", message, "The access token you provided is invalid.")
        if self.clock() >= parse_time(row["ends_at"]):
            details = "The access token you provided has expired."
            raise SpError(403, "Unauthorized", message, details)

    def _count(self, operation: str) -> None:
        self.calls[operation] = self.calls.get(operation, 0) + 1


def bad_input(details: str) -> SpError:
    """The answer to a question that makes no sense."""
    return SpError(400, "InvalidInput", "Invalid input", details)


def asked(request: Request, name: str) -> list[str]:
    """A list parameter, comma separated or repeated."""
    return [part for text in request.query_params.getlist(name) for part in text.split(",") if part]


def whole(request: Request, name: str, default: int, most: int) -> int:
    """A number between 1 and `most`. Raises SpError."""
    text = request.query_params.get(name, str(default))
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise bad_input(f"{name} must be between 1 and {most}")
    return int(text)


async def body_of(request: Request) -> Node:
    """The JSON object of a request. Raises SpError."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise bad_input("the body must be a JSON object")
    return body


def _lwa_error(status: int, code: str, description: str) -> Response:
    return JSONResponse({"error": code, "error_description": description}, status_code=status)
