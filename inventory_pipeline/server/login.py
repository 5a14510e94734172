"""Logging in with a token, for people: the browser then has a signed session."""

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from inventory_pipeline.core.access import Role
from inventory_pipeline.memory import audit
from inventory_pipeline.server.access import MAX_FORM_BYTES, form_of
from inventory_pipeline.server.rates import Rate
from inventory_pipeline.server.render import PageContext, Renderer
from inventory_pipeline.server.sessions import COOKIE, SESSION_LENGTH

log = structlog.get_logger("access")


def login_router(page: PageContext, draw: Renderer) -> APIRouter:
    """`/login` and `/logout`."""
    router = APIRouter(include_in_schema=False)
    tries = Rate(per_second=1 / 6, burst=10)

    @router.get("/login")
    def ask(request: Request, next_: Annotated[str, Query(alias="next")] = "/") -> HTMLResponse:
        return draw(request, "login.html", next=_within(next_), problem="")

    @router.post("/login", response_model=None)
    async def answer(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM_BYTES:
                return Response(status_code=413)
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
        wanted = _within(fields.get("next", ["/"])[0])
        sender = request.client.host if request.client else ""
        if wait_s := tries.take(sender):
            return draw(
                request, "login.html", status_code=429, next=wanted,
                problem=f"too many tries: wait {round(wait_s) + 1} seconds",
            )  # fmt: skip
        text = fields.get("token", [""])[0].strip()
        session = await run_in_threadpool(page.sessions.open_session, text) if text else None
        if session is None:
            log.warning("login refused", sender=sender)
            return draw(
                request, "login.html", status_code=401, next=wanted,
                problem="this token does not count: it is misspelt, expired or revoked",
            )  # fmt: skip
        person = await run_in_threadpool(page.sessions.of_cookie, session)
        if person is not None:
            await run_in_threadpool(_note, page, person.name, sender)
        answer = RedirectResponse(wanted, status_code=303)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=int(SESSION_LENGTH.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/logout")
    async def leave(request: Request) -> RedirectResponse:
        await form_of(request, page.sessions, Role.READ)
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    return router


def _note(page: PageContext, name: str, sender: str) -> None:
    with page.pg.connection() as connection:
        audit.record(
            connection, by=name, action="login", subject=name, detail={"from": sender},
            at=page.clock(),
        )  # fmt: skip


def _within(path: str) -> str:
    """A path of these pages; nobody is sent elsewhere by a link to /login."""
    parts = urlsplit(path)
    inside = not parts.scheme and not parts.netloc and path.startswith("/")
    return path if inside and not path.startswith(("//", "/\\")) and path.isprintable() else "/"
