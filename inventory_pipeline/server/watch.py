"""Looks at everything now and then, and tells people what is news."""

import threading
from datetime import timedelta

import structlog

from inventory_pipeline.core.alerts import News
from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.flow.alerts import watch
from inventory_pipeline.flow.context import HubContext

EVERY = timedelta(seconds=15)

log = structlog.get_logger("watch")


class Watch:
    """A thread that looks every fifteen seconds; of all processes of a hub one does it."""

    def __init__(self, ctx: HubContext) -> None:
        self._ctx = ctx
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the look under way has ended."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY.total_seconds()):
            try:
                told = watch(self._ctx)
            except PostgresUnavailable as error:
                log.warning("not looked", why=str(error).partition("\n")[0])
                continue
            except Exception:
                # The next look may see it again; whoever watches must not fall silent.
                log.exception("not looked")
                continue
            for line in told:
                say = log.info if line.news is News.ENDED else log.warning
                say(line.news.value, subject=line.subject, level=line.level, message=line.message)
