"""Serves the hub as it counts now: a changed policy, catalogue or mode is taken up while requests
are answered, without a restart and without a request that nobody answers.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
from fastapi import FastAPI

from inventory_pipeline.core.errors import HubError, PostgresUnavailable
from inventory_pipeline.flow.context import HubContext, is_outdated, renewed

LOOK_EVERY_S = 1.0
# A request that lasts longer than this keeps an old application no longer alive.
LONGEST_REQUEST_S = 30.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = structlog.get_logger("live")


class Renewals:
    """The context that counts, made anew when it is old. What cannot be taken up is said once."""

    def __init__(self, ctx: HubContext) -> None:
        self.ctx = ctx
        self._first = ctx
        self._said = ""

    def look(self) -> HubContext | None:
        """A newer context, if there is one; the one before stays open until `retire`."""
        try:
            with self.ctx.pg.connection() as connection:
                if not is_outdated(self.ctx, connection):
                    return None
            new = renewed(self.ctx)
        except PostgresUnavailable:
            return None  # said by whoever needs it; what counts is asked again
        except HubError as error:
            if str(error) != self._said:
                self._said = str(error)
                log.error("goes on with the old hub", why=str(error))
            return None
        self._said = ""
        self.ctx = new
        log.info(
            "takes up a changed hub", policy=new.policy_version, catalogue=new.mapping_version,
            modes=new.overrides or "as written",
        )  # fmt: skip
        return new

    def retire(self, old: HubContext) -> None:
        """Closes connectors that nobody uses any more; the first ones are the caller's."""
        shared = (self.ctx.connectors, self._first.connectors)
        if not any(old.connectors is connectors for connectors in shared):
            old.disconnect()

    def close(self) -> None:
        """At the end of the process."""
        if self.ctx.connectors is not self._first.connectors:
            self.ctx.disconnect()


class _Running:
    """One application with its lifespan; it ends when it has answered what it began."""

    def __init__(self, app: FastAPI, ctx: HubContext) -> None:
        self.ctx = ctx
        self._app = app
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._lifespan: AbstractAsyncContextManager[Any] = app.router.lifespan_context(app)

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        self._busy += 1
        self._idle.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def start(self) -> None:
        await self._lifespan.__aenter__()

    async def stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), LONGEST_REQUEST_S)
        await self._lifespan.__aexit__(None, None, None)


class LiveApp:
    """An ASGI application that stands for the newest one that `make` made."""

    def __init__(
        self,
        ctx: HubContext,
        make: Callable[[HubContext], FastAPI],
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._make = make
        self._renewals = Renewals(ctx)
        self._look_every_s = look_every_s
        self._running = _Running(make(ctx), ctx)
        self._retiring: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        await self._running.answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._running.start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        watch = asyncio.create_task(self._watch())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watch.cancel()
        await asyncio.gather(watch, *self._retiring, return_exceptions=True)
        await self._running.stop()
        self._renewals.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            try:
                await self._look()
            except Exception:
                # The old application goes on, and this is tried again.
                log.exception("a changed hub could not be taken up")

    async def _look(self) -> None:
        new = await asyncio.to_thread(self._renewals.look)
        if new is None:
            return
        # New requests go to the new application as soon as it is there.
        running = _Running(self._make(new), new)
        await running.start()
        old, self._running = self._running, running
        retiring = asyncio.create_task(self._retire(old))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def _retire(self, old: _Running) -> None:
        await old.stop()
        await asyncio.to_thread(self._renewals.retire, old.ctx)
