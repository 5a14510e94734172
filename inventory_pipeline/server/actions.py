"""What people do on the pages: each a form, each allowed by a role, each in the audit."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from inventory_pipeline.core.access import Role
from inventory_pipeline.flow.release import Outcome, release_rows
from inventory_pipeline.memory import audit, dead, guard
from inventory_pipeline.memory.postgres import Connection
from inventory_pipeline.server.access import Fields, NotAllowed, form_of, require_role
from inventory_pipeline.server.render import PageContext, Renderer
from inventory_pipeline.server.sessions import Person

MAX_PLACES = 10_000
MAX_REASON = 500  # characters

Place = tuple[str, str, str]  # channel, bucket, external id


def actions_router(page: PageContext, draw: Renderer) -> APIRouter:
    """POST only; every answer leads back to the page that the form stands on."""
    router = APIRouter(prefix="/actions", include_in_schema=False)

    @router.post("/guard")
    async def decide(request: Request) -> Response:
        person, fields = await form_of(request, page.sessions, Role.OPERATE)
        release = _one(fields, "do") == "release"
        if release:
            # What is released may empty a whole shop: that takes more than running the hub.
            require_role(request, Role.APPROVE)
        return await run_in_threadpool(_decide, page, person, fields, release=release)

    @router.post("/dead")
    async def dead_letter(request: Request) -> Response:
        person, fields = await form_of(request, page.sessions, Role.OPERATE)
        return await run_in_threadpool(_dead, page, person, fields)

    @router.post("/quarantine", response_model=None)
    async def quarantine(request: Request) -> Response:
        person, fields = await form_of(request, page.sessions, Role.OPERATE)
        outcomes = await run_in_threadpool(_let_in, page, person, fields)
        return draw(request, "outcomes.html", outcomes=outcomes)

    return router


def _decide(page: PageContext, person: Person, fields: Fields, *, release: bool) -> Response:
    reason = _one(fields, "reason")[:MAX_REASON].strip()
    if not reason:
        raise NotAllowed("say why: the audit keeps the reason beside your name")
    channel = _one(fields, "channel")
    with page.pg.connection() as connection:
        places = _places(fields, lambda: guard.held_rows(connection, channel, limit=MAX_PLACES))
        act = guard.release if release else guard.reject
        done = act(connection, places, by=person.name, reason=reason, at=page.clock())
    return _back(channel, "released" if release else "rejected", done)


def _dead(page: PageContext, person: Person, fields: Fields) -> Response:
    retry = _one(fields, "do") == "retry"
    channel = _one(fields, "channel")
    with page.pg.connection() as connection:
        places = _places(fields, lambda: dead.dead_rows(connection, channel, limit=MAX_PLACES))
        done = (dead.revive if retry else dead.drop_dead)(connection, places)
        if done:
            _note(
                page, connection, person,
                action="dead.retry" if retry else "dead.drop", subject=channel, places=places,
            )  # fmt: skip
    return _back(channel, "retried" if retry else "dropped", done)


def _note(
    page: PageContext,
    connection: Connection,
    person: Person,
    *,
    action: str,
    subject: str,
    places: Sequence[Place],
) -> None:
    audit.record(
        connection,
        by=person.name,
        action=action,
        subject=subject,
        detail={
            "columns": ["channel", "bucket", "external_id"],
            "rows": [list(place) for place in places],
        },
        at=page.clock(),
    )


def _let_in(page: PageContext, person: Person, fields: Fields) -> list[Outcome]:
    numbers = [int(text) for text in fields.get("row", []) if text.isdigit() and len(text) < 19]
    outcomes = release_rows(page.ctx, numbers[:MAX_PLACES])
    if outcomes:
        with page.pg.connection() as connection:
            audit.record(
                connection,
                by=person.name,
                action="quarantine.release",
                subject="quarantine",
                detail={
                    "released": [one.quarantine_id for one in outcomes if one.released],
                    "refused": [one.quarantine_id for one in outcomes if not one.released],
                },
                at=page.clock(),
            )
    return outcomes


def _places(fields: Fields, everything: Callable[[], Sequence[Any]]) -> list[Place]:
    """The listings that a form chose, or all of its channel."""
    if _one(fields, "which") == "all":
        return [(row.channel, row.bucket, row.external_id) for row in everything()]
    places: list[Place] = []
    for text in fields.get("place", []):
        try:
            channel, bucket, external_id = json.loads(text)
        except (ValueError, TypeError) as error:
            raise NotAllowed("the form is not one of these pages'") from error
        places.append((str(channel), str(bucket), str(external_id)))
    return places


def _one(fields: Fields, name: str) -> str:
    return fields.get(name, [""])[0]


def _back(channel: str, verb: str, number: int) -> RedirectResponse:
    address = f"/pushes?channel={quote(channel, safe='')}&said={verb}-{number}"
    return RedirectResponse(address, status_code=303)
