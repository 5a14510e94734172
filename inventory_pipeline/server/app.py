"""The application: receiver, API and pages in one process, and the intake beside them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from inventory_pipeline import __doc__ as package_says
from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory.postgres import Postgres
from inventory_pipeline.server.api import api_router
from inventory_pipeline.server.hooks import RETRY_AFTER_S, hooks_router
from inventory_pipeline.server.intake import GroupedInbox
from inventory_pipeline.server.pages import STATIC, PageContext, pages_router
from inventory_pipeline.server.pollers import Intake

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
) -> FastAPI:
    """The hub's HTTP side. With `intake` the inbox is read and systems are polled in this process.

    `patience_s`: seconds that a request waits for Postgres before it is answered with 503.
    """
    pg = Postgres(ctx.pg.url, patience_s=patience_s)
    background = Intake(ctx) if intake else None
    group = GroupedInbox(pg, stored=background.arrived if background else lambda: None)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if background:
            background.start()
        yield
        if background:
            background.stop()
        pg.close()

    app = FastAPI(
        title=f"{ctx.hub.name}: inventory hub",
        summary=package_says,
        lifespan=lifespan,
        # The usual viewers are fetched from other people's servers; the page /docs is our own.
        docs_url=None,
        redoc_url=None,
    )
    page = PageContext(hub=ctx.hub, pg=pg, clock=ctx.clock, dagster_url=dagster_url)
    app.include_router(hooks_router(ctx.connectors, group, ctx.clock))
    app.include_router(api_router(pg, hub=ctx.hub.name, channels=ctx.hub.channels))
    app.include_router(pages_router(page, app.openapi))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(PostgresUnavailable, _unavailable)
    return app


async def _unavailable(request: Request, error: Exception) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    if request.url.path.startswith(("/v1/", "/hooks/")):
        return JSONResponse({"error": str(error)}, status_code=503, headers=headers)
    from html import escape

    page = (
        '<!doctype html><meta charset="utf-8"><title>Postgres does not answer</title>'
        '<link rel="stylesheet" href="/static/style.css"><main><h1>Postgres does not answer</h1>'
        f"<pre>{escape(str(error))}</pre></main>"
    )
    return HTMLResponse(page, status_code=503, headers=headers)
