"""The channel's circuit breaker while a pass is on: what calls tell it, and what it stores."""

from collections.abc import Set
from datetime import timedelta

from inventory_pipeline.core import breaker as decisions
from inventory_pipeline.core.breaker import Breaker
from inventory_pipeline.core.errors import AccessRefused, ChannelBusy, SystemFailure
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.push_calls import Place, is_refusal
from inventory_pipeline.memory import breakers, outbox

# An acknowledgement is stored once in a while: nobody asks for it to the second.
ACKED_AGAIN = timedelta(seconds=5)


class Circuit:
    """One channel's breaker. `breaker` is its state as this pass knows it."""

    def __init__(self, ctx: HubContext, channel: str) -> None:
        self._ctx = ctx
        with ctx.pg.connection() as connection:
            self.breaker: Breaker = breakers.breaker_of(connection, channel)
        self._stored = self.breaker

    @property
    def waits(self) -> bool:
        """Whether nothing may be asked now."""
        return self.breaker.waits_until(self._ctx.clock()) is not None

    def failed(self, error: SystemFailure, places: Set[Place], *, call: str) -> None:
        """A call failed as a whole for these listings."""
        was = self.breaker
        busy = isinstance(error, ChannelBusy)
        pause = None
        if isinstance(error, ChannelBusy) and error.retry_after_s > 0:
            pause = timedelta(seconds=error.retry_after_s)
        elif is_refusal(error):
            pause = timedelta(0)
        self.breaker = decisions.failed(
            was,
            str(error),
            listings=places,
            call=call,
            now=self._ctx.clock(),
            certain=isinstance(error, AccessRefused),
            busy=busy,
            pause=pause,
        )
        with self._ctx.pg.connection() as connection:
            breakers.store(connection, self.breaker)
            if self.breaker.is_open and not was.is_open and was.failing_since is not None:
                # It refuses everything: those that it refused alone before are not to blame.
                outbox.revive_since(connection, was.channel, was.failing_since)
        self._stored = self.breaker

    def answered(self, *, call: str, acked: bool = False) -> None:
        """A call was answered, whatever it said of single listings."""
        self.breaker = decisions.answered(
            self.breaker, call=call, now=self._ctx.clock(), acked=acked
        )
        stored = self._stored
        if (
            (
                self.breaker.acked_at
                and (
                    stored.acked_at is None
                    or self.breaker.acked_at - stored.acked_at >= ACKED_AGAIN
                )
            )
            or stored.failures
            or stored.is_open
        ):
            self.store()

    def store(self) -> None:
        """Keeps the state, if it is another than the stored one."""
        if self.breaker != self._stored:
            with self._ctx.pg.connection() as connection:
                breakers.store(connection, self.breaker)
            self._stored = self.breaker
