"""Deliveries become durable in groups: one commit for all that arrive within a few milliseconds."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
import structlog

from inventory_pipeline.config.logs import in_lines, wanted
from inventory_pipeline.core.ports import Delivery, Verified
from inventory_pipeline.memory import correlation, inbox
from inventory_pipeline.memory.postgres import Postgres

# Waiting a little for company doubles what one disk can accept (a commit costs more than that).
GATHER_S = 0.003
MAX_GROUP = 256

log = structlog.get_logger("receiver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A verified delivery on its way into the inbox."""

    system: str
    verified: Verified
    delivery: Delivery

    @property
    def correlation_id(self) -> str:
        """The id that every later line about what it brings carries."""
        name = correlation.delivery_name(self.verified, self.delivery)
        return correlation.of_delivery(self.system, name)


class InboxFull(Exception):
    """More deliveries wait for a commit than memory should hold: the sender comes again."""


class GroupedInbox:
    """Stores deliveries in the inbox, many in one transaction.

    `put` returns after the commit, so the caller may answer 2xx. `stored` is called after each
    commit, from the writing thread. Errors of the commit reach every `put` of its group; a row that
    Postgres cannot store fails alone.
    """

    def __init__(
        self, pg: Postgres, *, stored: Callable[[], None] = lambda: None, max_waiting: int = 5_000
    ) -> None:
        self._pg = pg
        self._stored = stored
        self._max_waiting = max_waiting
        self._waiting: list[tuple[Accepted, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self.commits = 0

    async def put(self, accepted: Accepted) -> None:
        """Durable when this returns. Raises InboxFull, PostgresUnavailable or psycopg.DataError."""
        if len(self._waiting) >= self._max_waiting:
            raise InboxFull
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((accepted, durable))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await durable

    async def _write_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            await self._write_group(group)

    async def _write_group(self, group: list[tuple[Accepted, asyncio.Future[None]]]) -> None:
        try:
            await asyncio.to_thread(self._store, [accepted for accepted, _ in group])
        except psycopg.DataError as error:
            if len(group) > 1:
                for one in group:
                    await self._write_group([one])
            else:
                _settle(group, error)
        except Exception as error:  # noqa: BLE001 - whoever waits for this group must hear of it
            _settle(group, error)
        else:
            _settle(group, None)

    def _store(self, group: Sequence[Accepted]) -> None:
        with self._pg.connection() as connection:
            inbox.put_all(connection, ((one.system, one.verified, one.delivery) for one in group))
        self.commits += 1
        self._stored()
        if wanted(log, logging.INFO):
            for ids in in_lines([one.correlation_id for one in group]):
                log.info("accepted", deliveries=len(group), correlation_ids=ids)


def _settle(
    group: Sequence[tuple[Accepted, asyncio.Future[None]]], error: Exception | None
) -> None:
    for _, durable in group:
        if durable.done():  # the sender hung up
            continue
        if error is None:
            durable.set_result(None)
        else:
            durable.set_exception(error)
