"""The Postgres that `up` works with: the embedded one, kept alive, or one that it is given."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from inventory_pipeline.core.errors import PostgresUnavailable
from inventory_pipeline.memory.embedded import start_embedded, stop_embedded
from inventory_pipeline.memory.postgres import without_password

LOOK_EVERY_S = 2.0
ANSWER_S = 3


class Database:
    """Starts the embedded server where no URL is given; says once when Postgres goes away and once
    when it is back.
    """

    def __init__(self, folder: Path, *, given_url: str, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self.embedded = not given_url
        self.url = ""  # until it is started
        self._given_url = given_url
        self._looked_at = 0.0
        self._down = False
        self._lock = threading.Lock()

    def start(self) -> str:
        """The URL. Raises PostgresUnavailable with the server's own words."""
        self.url = start_embedded(self._folder) if self.embedded else self._given_url
        return self.url

    def stop(self) -> None:
        """Stops the embedded server; one that was given stays as it is."""
        if self.embedded and self.url:
            stop_embedded(self._folder)

    def is_down(self) -> bool:
        """Looks every LOOK_EVERY_S seconds at most; a dead embedded server is started again."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= LOOK_EVERY_S:
                self._looked_at = now
                self._look()
            return self._down

    def _look(self) -> None:
        if self._answers():
            if self._down:
                self._say("Postgres answers again; everything goes on")
            self._down = False
            return
        if not self._down:
            self._say(
                f"Postgres at {without_password(self.url)} does not answer; nothing is lost, "
                + ("starting it again" if self.embedded else "waiting until it is back")
            )
        self._down = True
        if self.embedded:
            self._restart()

    def _answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=ANSWER_S) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _restart(self) -> None:
        try:
            start_embedded(self._folder)
        except PostgresUnavailable as error:
            # Its old processes may still be ending: the next look tries again.
            self._say(str(error).splitlines()[0])
