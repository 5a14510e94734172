"""The application: receiver, API and pages in one process, and the intake beside them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html import escape
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from inventory_pipeline import __doc__ as package_says
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.server import access
from inventory_pipeline.server.access import Access, NotAllowed
from inventory_pipeline.server.actions import actions_router
from inventory_pipeline.server.api import api_router
from inventory_pipeline.server.hooks import RETRY_AFTER_S, Limits, Receiver, described
from inventory_pipeline.server.intake import GroupedInbox
from inventory_pipeline.server.judging import Judging
from inventory_pipeline.server.login import login_router
from inventory_pipeline.server.metrics import metrics_router
from inventory_pipeline.server.pages import pages_router
from inventory_pipeline.server.pollers import Intake
from inventory_pipeline.server.render import STATIC, PageContext, Renderer
from inventory_pipeline.server.search import Search
from inventory_pipeline.server.sessions import Sessions
from inventory_pipeline.server.upkeep import Upkeep
from inventory_pipeline.server.watch import Watch

HOST = "127.0.0.1"
DEFAULT_DAGSTER_URL = "http://127.0.0.1:3000"
# A sender waits five seconds; we give up before it does, and say when to come again.
PATIENCE_S = 2.0


def create_app(
    ctx: HubContext,
    *,
    intake: bool = False,
    dagster_url: str = DEFAULT_DAGSTER_URL,
    patience_s: float = PATIENCE_S,
    current_hub: Callable[[], Hub] | None = None,
    host: str = HOST,
    hook_limits: Limits | None = None,
) -> FastAPI:
    """The hub's HTTP side. With `intake` the inbox is read and systems are polled in this process.

    `patience_s`: seconds that a request waits for Postgres before it is answered with 503.
    `current_hub`: the policy that counts now, where it may change while this runs. `host`: the
    address that the server listens on; unless it is loopback, pages and API ask for a token.
    """
    pg = Postgres(ctx.pg.url, patience_s=patience_s)
    hub_now = current_hub or (lambda: ctx.hub)
    background = Intake(ctx) if intake else None
    judging = Judging()
    upkeep = Upkeep(pg, hub_now, ctx, judging)
    watch = Watch(ctx)
    group = GroupedInbox(pg, stored=background.arrived if background else lambda: None)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        upkeep.start()
        watch.start()
        if background:
            background.start()
        yield
        if background:
            background.stop()
        watch.stop()
        upkeep.stop()
        pg.close()

    app = FastAPI(
        title=f"{ctx.hub.name}: inventory hub",
        summary=package_says,
        lifespan=lifespan,
        # The usual viewers are fetched from other people's servers; the page /docs is our own.
        docs_url=None,
        redoc_url=None,
    )
    sessions = Sessions(pg, ctx.clock, bound_to=host)
    page = PageContext(
        ctx=ctx,
        pg=pg,
        current_hub=hub_now,
        dagster_url=dagster_url,
        sessions=sessions,
        search=Search(hub_now),
        judging=judging,
    )
    draw = Renderer(page)
    app.include_router(api_router(pg, hub_now))
    app.include_router(metrics_router(page))
    app.include_router(login_router(page, draw))
    app.include_router(pages_router(page, draw, lambda: _described(app)))
    app.include_router(actions_router(page, draw))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(PostgresUnavailable, _unavailable)
    app.add_exception_handler(NotAllowed, _not_allowed)
    hooks = Receiver(ctx.connectors, group, ctx.clock, hook_limits)
    app.add_middleware(Access, sessions=sessions, hooks=hooks)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with the one way to say who asks."""
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        schema["components"].setdefault("securitySchemes", {})["token"] = {
            "type": "http",
            "scheme": "bearer",
            "description": "`inventory-pipeline token create`; not needed on this machine itself",
        }
        schema["paths"] = {"/hooks/{system}": described(), **schema["paths"]}
        for path, methods in schema["paths"].items():
            if not path.startswith(access.OPEN_PREFIXES) and path not in access.OPEN_PATHS:
                for operation in methods.values():
                    operation["security"] = [{"token": []}, {}]
    assert app.openapi_schema is not None
    return app.openapi_schema


async def _unavailable(request: Request, error: Exception) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    if request.url.path.startswith(access.PROGRAMS):
        return JSONResponse({"error": str(error)}, status_code=503, headers=headers)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        "<title>Postgres does not answer</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/style.css"><main><h1>Postgres does not answer</h1>'
        f"<pre>{escape(str(error))}</pre></main></html>"
    )
    return HTMLResponse(page, status_code=503, headers=headers)


async def _not_allowed(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotAllowed)
    if request.url.path.startswith(access.PROGRAMS):
        return JSONResponse({"error": str(error)}, status_code=error.status)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Not allowed</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/style.css">'
        f"<main><h1>Not allowed</h1><p>{escape(str(error))}</p>"
        '<p><a href="/">Health</a></p></main></html>'
    )
    return HTMLResponse(page, status_code=error.status)
