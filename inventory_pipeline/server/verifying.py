"""Checking of signatures beside the event loop, for systems whose check may ask them something."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

from inventory_pipeline.core.ports import Connector, Delivery, Verified

# Senders wait for a few seconds only: what takes longer is told to come again.
VERIFIED_WITHIN_S = 4.0
AT_ONCE = 4  # per system, so that one that hangs takes no threads from the others
MOST_WAITING = 64


class NotVerified(Exception):
    """Whether the signature holds is not known yet: the sender comes again."""


class Verifying:
    """Runs `verify` of connectors that say `slow_verify` in a few threads of each system's own."""

    def __init__(self, within_s: float = VERIFIED_WITHIN_S) -> None:
        self._within_s = within_s
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._waiting: dict[str, int] = {}

    async def verify(self, connector: Connector, delivery: Delivery) -> Verified:
        """What the connector says. Raises what it raises, and NotVerified where it takes too long
        or too many wait.
        """
        system = connector.system
        if self._waiting.get(system, 0) >= MOST_WAITING:
            raise NotVerified(f"{MOST_WAITING} deliveries wait for their check")
        threads = self._threads.get(system)
        if threads is None:
            threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"verify-{system}")
            self._threads[system] = threads
        loop = asyncio.get_running_loop()
        self._waiting[system] = self._waiting.get(system, 0) + 1
        check = threads.submit(connector.verify, delivery)
        # Counted until its thread is done with it, whether or not anybody still waits.
        check.add_done_callback(lambda _: self._done(loop, system))
        try:
            return await asyncio.wait_for(_of(check), self._within_s)
        except TimeoutError as error:
            raise NotVerified(f"not checked within {self._within_s} s") from error

    def _done(self, loop: asyncio.AbstractEventLoop, system: str) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._count_down, system)

    def _count_down(self, system: str) -> None:
        self._waiting[system] -= 1


def _of(check: "Future[Verified]") -> "asyncio.Future[Verified]":
    return asyncio.wrap_future(check)
