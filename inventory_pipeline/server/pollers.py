"""What runs beside the receiver: one thread reads the inbox into the ledger, one for each system
asks for changes.

A trouble is one log line when it begins and one when it ends, however often it is met in between.
Every thread goes on after any error: what it reads stays where it was until it is stored.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from inventory_pipeline.core.errors import HubError, PostgresUnavailable
from inventory_pipeline.core.ledger import IngestCount
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.flow.connecting import doubts
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.hints import judge_hints
from inventory_pipeline.flow.land import land_changes, land_inbox
from inventory_pipeline.memory import inbox
from inventory_pipeline.memory.versions import StaleMapping

INBOX_BATCH = 500
# Deliveries that an earlier process accepted are found without being told of them.
INBOX_LOOK_S = 1.0
MAX_BACKOFF_S = 60.0
POSTGRES_AGAIN_S = 1.0
# A newer catalogue counts: this process takes it up within about a second.
RENEWED_S = 1.0
JITTER = 0.1
# A system that tells of changes is asked for them at once, but not more often than this.
LEAST_BETWEEN_POLLS_S = 2.0

log = structlog.get_logger("intake")


class Trouble:
    """Says once that something fails and once that it works again, for all threads that meet it."""

    def __init__(self, subject: str, clock: Clock) -> None:
        self._subject = subject
        self._clock = clock
        self._lock = threading.Lock()
        self._since: datetime | None = None
        self._ended: datetime | None = None
        self._kind = ""
        self.failures = 0

    def met(self, error: Exception, *, tried_at: datetime | None = None) -> None:
        """Another failure; only the first of its kind is logged.

        One that was tried before the trouble ended, and is only reported now, says nothing new.
        """
        with self._lock:
            if tried_at is not None and self._ended is not None and tried_at < self._ended:
                return
            self.failures += 1
            self._since = self._since or self._clock()
            if type(error).__name__ == self._kind:
                return
            self._kind = type(error).__name__
        if isinstance(error, HubError):
            log.warning("failing", subject=self._subject, why=str(error))
        else:
            log.error("failing", subject=self._subject, why=repr(error), exc_info=error)

    def over(self) -> None:
        """It worked: says so if it did not before."""
        with self._lock:
            if self._since is None:
                return
            self._ended = self._clock()
            lasted_s = round((self._ended - self._since).total_seconds(), 1)
            failures, self.failures = self.failures, 0
            self._since, self._kind = None, ""
        log.info("works again", subject=self._subject, after_s=lasted_s, failures=failures)

    def backoff_s(self, base_s: float) -> float:
        """Seconds until the next attempt: doubles with each failure, up to a ceiling."""
        return float(min(base_s * 2 ** min(self.failures - 1, 10), max(base_s, MAX_BACKOFF_S)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A thread's work: `step` returns the seconds until it is wanted again (0: at once)."""

    name: str
    step: Callable[[], float]
    first_after_s: float = 0.0
    retry_s: float = 1.0
    told: threading.Event | None = None  # set where the system says that something changed


class Intake:
    """The background threads of one process; started once, stopped once."""

    def __init__(self, ctx: HubContext, *, poll: bool = True, read_inbox: bool = True) -> None:
        self._ctx = ctx
        self._polls = poll
        self._stopping = threading.Event()
        self._arrived = threading.Event()
        self._postgres = Trouble("Postgres", ctx.clock)
        self._told: dict[str, threading.Event] = {}
        self._tasks: list[Task] = []
        if read_inbox:
            self._tasks.append(Task(name="inbox", step=self._read_inbox))
        if poll:
            self._tasks += [self._poller(name) for name in polled_systems(ctx)]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        if self._polls:
            for doubt in doubts(self._ctx.connectors.values()):
                log.warning("nothing to read yet", why=doubt)
        for task in self._tasks:
            thread = threading.Thread(target=self._run, args=(task,), name=task.name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, *, patience_s: float = 5.0) -> None:
        """Waits for what is being stored; what is cut off is read again at the next start."""
        self._stopping.set()
        self._arrived.set()
        for told in self._told.values():
            told.set()
        for thread in self._threads:
            thread.join(patience_s)

    def arrived(self) -> None:
        """The inbox has something new."""
        self._arrived.set()

    def hinted(self, system: str) -> None:
        """The system says that something changed: it is asked at once, however often it says so."""
        if system in self._told:
            self._told[system].set()

    def _run(self, task: Task) -> None:
        trouble = Trouble(task.name, self._ctx.clock)
        wait_s = task.first_after_s
        while not self._pause(task, wait_s, failing=trouble.failures > 0):
            tried_at = self._ctx.clock()
            try:
                wait_s = task.step()
            except PostgresUnavailable as error:
                # One line for all threads; a database that is back is wanted at once.
                self._postgres.met(error, tried_at=tried_at)
                wait_s = POSTGRES_AGAIN_S
            except StaleMapping as error:
                # Nothing was stored: whoever takes up the new catalogue reads it again.
                log.info("waits for the new catalogue", subject=task.name, why=error.message)
                wait_s = RENEWED_S
            except Exception as error:  # noqa: BLE001 - a thread that dies would be silent
                trouble.met(error)
                # A system that is down is not to be hammered.
                wait_s = trouble.backoff_s(task.retry_s)
            else:
                trouble.over()
                self._postgres.over()

    def _pause(self, task: Task, wait_s: float, *, failing: bool) -> bool:
        """Sleeps, or is woken; True when the process wants to end."""
        if task.name == "inbox" and wait_s == INBOX_LOOK_S:
            self._arrived.wait(wait_s)
            self._arrived.clear()
        elif task.told is not None and not failing:
            self._pause_unless_told(task.told, wait_s)
        else:
            self._stopping.wait(wait_s)
        return self._stopping.is_set()

    def _pause_unless_told(self, told: threading.Event, wait_s: float) -> None:
        """Until the next poll; sooner where the system tells of changes, but never right after the
        one before.
        """
        polled = time.monotonic()
        if told.wait(wait_s):
            rest_s = min(LEAST_BETWEEN_POLLS_S, wait_s) - (time.monotonic() - polled)
            self._stopping.wait(max(0.0, rest_s))
        # What is told from here on may not be in what is about to be read.
        told.clear()

    def _read_inbox(self) -> float:
        judged = judge_hints(self._ctx)
        if judged.to_read or judged.known:
            log.info("hints judged", to_read=judged.to_read, known=judged.known)
        with self._ctx.pg.connection() as connection:
            waiting = inbox.waiting(connection)
        if not waiting:
            return INBOX_LOOK_S
        count = land_inbox(self._ctx, limit=INBOX_BATCH, hinted=self.hinted)
        _report("inbox", count, deliveries=min(waiting, INBOX_BATCH))
        return 0.0 if waiting > INBOX_BATCH else INBOX_LOOK_S

    def _poller(self, name: str) -> Task:
        poll_s = self._ctx.hub.systems[name].poll.total_seconds()
        self._told[name] = threading.Event()

        def step() -> float:
            _report(name, land_changes(self._ctx, name))
            return poll_s * random.uniform(1 - JITTER, 1 + JITTER)

        return Task(
            name=f"poll {name}",
            step=step,
            first_after_s=random.uniform(0, min(poll_s, 1.0)),
            retry_s=min(poll_s, MAX_BACKOFF_S),
            told=self._told[name],
        )


def polled_systems(ctx: HubContext) -> list[str]:
    """Systems that can be asked for changes, in the order of hub.yaml."""
    return [
        name
        for name in ctx.hub.systems
        if name in ctx.connectors and ctx.connectors[name].capabilities.changes
    ]


def _report(source: str, count: IngestCount, **more: int) -> None:
    if count.accepted or count.duplicates or count.conflicting or count.quarantined:
        log.info(
            "landed", source=source, accepted=count.accepted, duplicates=count.duplicates,
            conflicting=count.conflicting, quarantined=count.quarantined, **more,
        )  # fmt: skip
