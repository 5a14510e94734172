"""What stands before every call of the simulated Square: the token, and the faults."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inventory_pipeline.simulate.storefront import Faults

Node = dict[str, Any]
Work = Callable[[Request], Awaitable[Response]]


class SquareError(Exception):
    """An answer in Square's shape of errors."""

    def __init__(self, status: int, category: str, code: str, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.status = status
        error = {"category": category, "code": code, "detail": detail}
        self.body = {"errors": [error | ({"field": field} if field else {})]}


def bad(code: str, detail: str, field: str = "") -> SquareError:
    """The answer to a request that makes no sense."""
    return SquareError(400, "INVALID_REQUEST_ERROR", code, detail, field)


async def body_of(request: Request) -> Node:
    """The JSON object of a request. Raises SquareError."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise bad("EXPECTED_JSON_BODY", "The request body is no JSON object.")
    return body


class Door:
    """Lets calls with the right token in. `scopes` are what the token may do."""

    def __init__(self, *, token: str, scopes: frozenset[str], faults: Faults) -> None:
        self.token = token
        self.scopes = scopes
        self.faults = faults

    def guarded(self, scope: str, work: Work, *, write: bool = False) -> Work:
        """`work` behind token, scope and fault; its errors in Square's shape."""

        async def answer(request: Request) -> Response:
            try:
                self._admit(request, scope)
                fault = self.faults.next(write=write)
                if fault == "throttle":
                    raise SquareError(  # noqa: TRY301
                        429, "RATE_LIMIT_ERROR", "RATE_LIMITED", "Your application is too fast."
                    )
                if fault == "fail":
                    raise SquareError(  # noqa: TRY301
                        500, "API_ERROR", "INTERNAL_SERVER_ERROR", "An internal error occurred."
                    )
                done = await work(request)
                if fault == "timeout_after_apply":
                    await asyncio.sleep(self.faults.seconds)
                    return Response("<html>Gateway Timeout</html>", 504)
            except SquareError as error:
                return JSONResponse(error.body, status_code=error.status)
            else:
                return done

        return answer

    def _admit(self, request: Request, scope: str) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            raise SquareError(
                401, "AUTHENTICATION_ERROR", "UNAUTHORIZED", "This request could not be authorized."
            )
        if scope not in self.scopes:
            raise SquareError(
                403,
                "AUTHENTICATION_ERROR",
                "INSUFFICIENT_SCOPES",
                f"The merchant has not given your application {scope}.",
            )
