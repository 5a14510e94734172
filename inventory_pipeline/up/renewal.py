"""`up` beside a hub whose policy, catalogue or modes change: it takes them up, and has Dagster load
its definitions again where channels or systems differ.
"""

from collections.abc import Callable

from inventory_pipeline.core.errors import HubError, PostgresUnavailable
from inventory_pipeline.flow.activate import restructured
from inventory_pipeline.flow.context import HubContext, is_outdated, renewed


class HubWatch:
    """The hub as it counts now. `reload` has Dagster's definitions loaded again; it says whether
    that was done, and is asked again until it was.
    """

    def __init__(
        self, ctx: HubContext, *, say: Callable[[str], None], reload: Callable[[], bool]
    ) -> None:
        self.ctx = ctx
        self._first = ctx
        self._say = say
        self._reload = reload
        self._reload_due = False
        self._said = ""

    def look(self) -> None:
        """One small question to Postgres; never raises for a hub that cannot be taken up."""
        try:
            with self.ctx.pg.connection() as connection:
                if is_outdated(self.ctx, connection):
                    self._take_up()
        except PostgresUnavailable:
            return  # whoever keeps the database says so
        except HubError as error:
            if str(error) != self._said:
                self._said = str(error)
                self._say(str(error))
        if self._reload_due and self._reload():
            self._reload_due = False
            self._say("Dagster's definitions are those of the changed hub")

    def _take_up(self) -> None:
        old, new = self.ctx, renewed(self.ctx)
        self._reload_due |= restructured(old.as_written, new.as_written)
        self.ctx, self._said = new, ""
        if old.connectors is not new.connectors and old is not self._first:
            old.disconnect()
        modes = f", modes set by hand: {new.overrides}" if new.overrides else ""
        self._say(
            f"rules version {new.policy_version} and catalogue version {new.mapping_version} "
            f"count now{modes}"
        )

    def close(self) -> None:
        """Connectors that were opened on the way; the first ones are the caller's."""
        if self.ctx.connectors is not self._first.connectors:
            self.ctx.disconnect()
