"""Every request passes here: who asks, what it may do, and whether it came from our own pages."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from inventory_pipeline.core.access import Role
from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.server.sessions import COOKIE, LOCAL, Person, Sessions

HOOKS = "/hooks/"
# They have signatures of their own, or nothing worth hiding.
OPEN_PREFIXES = (HOOKS, "/static/")
OPEN_PATHS = ("/v1/health", "/login")
READING = ("GET", "HEAD", "OPTIONS")
MAX_FORM_BYTES = 256 * 1024
MAX_FORM_FIELDS = 2_000
PROGRAMS = ("/v1/", "/metrics", "/openapi.json", "/hooks/")
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger("access")


class Access:
    """ASGI middleware. `request.state.person` is who asks, None only on open paths."""

    def __init__(self, app: App, *, sessions: Sessions, hooks: App) -> None:
        self._app = app
        self._hooks = hooks
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(HOOKS):
            await self._hooks(scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"].startswith(OPEN_PREFIXES):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = _foreign(scope, headers)
        if refusal is None:
            try:
                person = await self._person(scope, headers)
            except PostgresUnavailable:
                # What needs Postgres says so itself; nobody is let in meanwhile.
                person = None
                if scope["path"] not in OPEN_PATHS:
                    refusal = _refused(scope, 503, "Postgres does not answer", Retry_After="5")
            scope.setdefault("state", {})["person"] = person
            if refusal is None and person is None and scope["path"] not in OPEN_PATHS:
                refusal = _unknown(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        await self._app(scope, receive, _with_headers(send))

    async def _person(self, scope: Scope, headers: Headers) -> Person | None:
        authorization = headers.get("authorization", "")
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return await run_in_threadpool(self._sessions.of_token, text.strip())
        if self._sessions.local(scope, headers):
            return LOCAL
        cookie = Request(scope).cookies.get(COOKIE, "")
        return await run_in_threadpool(self._sessions.of_cookie, cookie) if cookie else None


def _foreign(scope: Scope, headers: Headers) -> Response | None:
    """A refusal, if another site's page sends this request in its visitor's name.

    Links from elsewhere to a page are welcome; anything else from elsewhere is not.
    """
    site = headers.get("sec-fetch-site", "")
    reading = scope["method"] in READING
    if reading and headers.get("sec-fetch-mode", "navigate") == "navigate":
        return None
    foreign = site not in ("", "same-origin", "none")
    origin = headers.get("origin")
    if not foreign and origin is not None and not reading:
        foreign = urlsplit(origin).netloc != headers.get("host", "")
    if not foreign:
        return None
    log.warning("cross-site request refused", path=scope["path"], origin=origin, site=site)
    return _refused(scope, 403, "this request came from another site's page")


def _unknown(scope: Scope, headers: Headers) -> Response:
    if scope["method"] in READING and "text/html" in headers.get("accept", ""):
        query = scope.get("query_string", b"").decode("latin-1")
        wanted = quote(scope["path"] + (f"?{query}" if query else ""), safe="")
        return RedirectResponse(f"/login?next={wanted}", status_code=303)
    return _refused(
        scope, 401, "a token is needed: Authorization: Bearer …", WWW_Authenticate="Bearer"
    )


def _refused(scope: Scope, status: int, message: str, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if scope["path"].startswith(PROGRAMS):
        return JSONResponse({"error": message}, status_code=status, headers=named)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{message}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/style.css">'
        f'<main><h1>{message}</h1><p><a href="/">Health</a></p></main></html>'
    )
    return HTMLResponse(page, status_code=status, headers=named)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            raw = message.setdefault("headers", [])
            raw += [(name.encode(), value.encode()) for name, value in PAGE_HEADERS.items()]
            if not any(name.lower() == b"cache-control" for name, _ in raw):
                raw.append((b"cache-control", b"no-store"))
        await send(message)

    return sending


class NotAllowed(Exception):
    """A role, or a form that this session's pages did not make; `status` is 403."""

    status = 403


def person_of(request: Request) -> Person:
    """Who asks, on any path that is not open."""
    person: Person | None = getattr(request.state, "person", None)
    if person is None:
        raise NotAllowed("nobody is logged in")
    return person


def require_role(request: Request, role: Role) -> Person:
    """Who asks, if it may do this. Raises NotAllowed."""
    person = person_of(request)
    if not person.may(role):
        raise NotAllowed(f"{person.name} may {person.role}; this needs a token that may {role}")
    return person


Fields = dict[str, list[str]]


async def form_of(request: Request, sessions: Sessions, role: Role) -> tuple[Person, Fields]:
    """Who sent a form of ours, and its fields. Raises NotAllowed.

    A program with a token in its header needs no form token: no page can send that header.
    """
    person = require_role(request, role)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise NotAllowed(f"a form has at most {MAX_FORM_BYTES:,} bytes")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise NotAllowed(f"a form has at most {MAX_FORM_FIELDS:,} fields") from error
    by_header = request.headers.get("authorization", "").lower().startswith("bearer ")
    if not by_header and not await run_in_threadpool(
        sessions.fits, person, fields.get("form_token", [""])[0]
    ):
        raise NotAllowed("the form is not of this session: go back, reload the page, send it again")
    return person, fields
