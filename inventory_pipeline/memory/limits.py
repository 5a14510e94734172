"""The limiter that all processes of the hub share: its state is one row of Postgres for each limit.

No library fits: those with a Postgres bucket store a row for each unit that is taken, and none
takes a rate, a remainder or a pause from the server that it limits. The arithmetic is that of
core/limits.py, as functions of migration 0006.
"""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from inventory_pipeline.core.limits import (
    Filling,
    Grant,
    Limit,
    Pauses,
    TokenBucket,
    WaitingLimiter,
    numbers_of,
)
from inventory_pipeline.memory.fault_points import connection_class
from inventory_pipeline.memory.postgres import Connection, unavailable

CONNECT_TIMEOUT_S = 10
# A bucket that is far from empty is asked for many calls' worth at once, which is used up or given
# back within this time, and the system's own word is passed on no more often.
SLICE_S = 0.2
SLICE_CALLS = 16
# A pause that another process was told is noticed after this time; one of this process at once.
PAUSE_LOOK_S = 0.2
# A limit's newest second may be lost with a crash of the server's machine; nobody waits for a disk.
SESSION = "SET timezone TO 'UTC'; SET synchronous_commit TO off"
STATE = (
    "SELECT system, name, capacity, per_second, window_s, level,"
    " extract(epoch FROM as_of)::float8, extract(epoch FROM quiet_until)::float8,"
    " extract(epoch FROM clock_timestamp())::float8 FROM hub.limits"
)


class SharedLimits:
    """The limits of all systems, over one connection of its own that is opened when first needed.

    Every call is one statement that commits by itself (0.3 ms): a transaction of several would keep
    a row locked while its process is stopped.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._closing: Callable[[], object] = bool

    def of(
        self,
        system: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> "SharedLimiter":
        """The limiter of one system."""
        return SharedLimiter(self, system, sleep=sleep, monotonic=monotonic)

    def ask(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows of one statement. A connection that was lost is made anew, once.

        Raises PostgresUnavailable.
        """
        with self._lock:
            try:
                return self._asked(query, parameters)
            except psycopg.OperationalError:
                self._drop()
            try:
                return self._asked(query, parameters)
            except psycopg.OperationalError as error:
                self._drop()
                raise unavailable(self._url, str(error)) from error

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        with self._lock:
            self._drop()

    def _asked(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = connection_class().connect(
                self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
            )
            self._connection.execute(SESSION)
            self._closing = weakref.finalize(self, self._connection.close)
        return self._connection.execute(query, parameters, prepare=True).fetchall()

    def _drop(self) -> None:
        if self._connection is not None:
            self._closing()
            self._connection = None


@dataclass(slots=True, kw_only=True)
class Slice:
    """Units of a bucket that this process has taken ahead."""

    since: float
    left: float


class SharedLimiter(WaitingLimiter):
    """One system's limits; `core.limits.Limiter` says what it does. Raises PostgresUnavailable."""

    def __init__(
        self,
        limits: SharedLimits,
        system: str,
        *,
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(system, sleep=sleep, monotonic=monotonic)
        self._limits = limits
        self._declared: dict[str, Limit] = {}
        self._found_open: dict[str, float] = {}
        self._slicing = threading.Lock()
        self._slices: dict[str, Slice] = {}
        self._told: dict[str, tuple[Limit, float]] = {}

    def told(
        self,
        limit: Limit,
        *,
        remaining: float | None = None,
        taken_meanwhile: float = 0,
        put_back: float = 0,
        resets_in_s: float | None = None,
    ) -> None:
        """As Limiter.told."""
        if self._says_nothing_new(limit, remaining, put_back) and resets_in_s is None:
            return
        self._tell(
            limit,
            numbers=None if limit is self._declared.get(limit.name) else _array(limit),
            remaining=remaining,
            taken_meanwhile=taken_meanwhile,
            put_back=put_back,
            resets_in_s=resets_in_s,
        )

    def put_back(self, limit: Limit, cost: float) -> None:
        """As Limiter.put_back."""
        self._tell(limit, put_back=cost)

    def pause(self, limit: Limit, seconds: float) -> None:
        """As Limiter.pause."""
        self._found_open.pop(limit.name, None)
        with self._slicing:
            self._slices.pop(limit.name, None)
        self._tell(limit, quiet_s=seconds)

    def remaining(self) -> dict[str, float]:
        """As Limiter.remaining."""
        rows = self._limits.ask(f"{STATE} WHERE system = %s ORDER BY name", (self.system,))
        return {row[1]: max(0.0, _filling(row).level) for row in rows if row[2]}

    def _ask(self, limit: Limit, cost: float, *, patience_s: float, urgent: bool) -> Grant:
        self._declared[limit.name] = limit
        if isinstance(limit, Pauses):
            wait = self._pause_s(limit)
            return Grant(granted=wait <= patience_s, wait_s=wait, cost=0)
        if isinstance(limit, TokenBucket) and urgent and self._is_in_slice(limit, cost):
            return Grant(granted=True, wait_s=0.0, cost=cost)
        return self._taken(limit, cost, patience_s=patience_s, urgent=urgent)

    def _taken(self, limit: Limit, cost: float, *, patience_s: float, urgent: bool) -> Grant:
        row = self._limits.ask(
            "SELECT granted, wait_s, cost FROM hub.limit_take(%s, %s, %s, %s, %s, %s)",
            (self.system, limit.name, _array(limit), cost, patience_s, urgent),
        )[0]
        return Grant(granted=row[0], wait_s=row[1], cost=row[2])

    def _is_in_slice(self, limit: TokenBucket, cost: float) -> bool:
        """Takes the cost from what this process holds; first fetches that, where it is time to."""
        with self._slicing:
            now = self._monotonic()
            held = self._slices.get(limit.name)
            if held is None or not 0 <= now - held.since < SLICE_S:
                # One for many: only if a fifth of the bucket is left to the others.
                most = min(cost * SLICE_CALLS, limit.capacity / SLICE_CALLS)
                fetched = most > cost and self._taken(limit, most, patience_s=0, urgent=False)
                left = most if fetched and fetched.granted else 0.0
                back = held.left if held is not None else 0.0
                held = self._slices[limit.name] = Slice(since=now, left=left)
                if back > 0:
                    self._tell(limit, put_back=back)
            if held.left < cost:
                return False
            held.left -= cost
            return True

    def _says_nothing_new(self, limit: Limit, remaining: float | None, put_back: float) -> bool:
        """Whether the system's word may wait for the next: a bucket as it was known, at least half
        full.
        """
        if not isinstance(limit, TokenBucket) or remaining is None or put_back:
            return False
        now = self._monotonic()
        known, at = self._told.get(limit.name, (None, 0.0))
        if known == limit and 0 <= now - at < SLICE_S and remaining * 2 >= limit.capacity:
            return True
        self._told[limit.name] = (limit, now)
        return False

    def _pause_s(self, limit: Pauses) -> float:
        """As _quiet_s; nothing is counted here, so a short memory does."""
        now = self._monotonic()
        if 0 <= now - self._found_open.get(limit.name, float("-inf")) < PAUSE_LOOK_S:
            return 0.0
        wait = self._quiet_s(limit)
        if not wait:
            self._found_open[limit.name] = now
        return wait

    def _quiet_s(self, limit: Limit) -> float:
        rows = self._limits.ask(
            "SELECT extract(epoch FROM quiet_until - clock_timestamp())::float8 FROM hub.limits"
            " WHERE system = %s AND name = %s",
            (self.system, limit.name),
        )
        return max(0.0, rows[0][0]) if rows else 0.0

    def _tell(
        self,
        limit: Limit,
        *,
        numbers: list[float] | None = None,
        remaining: float | None = None,
        taken_meanwhile: float = 0,
        put_back: float = 0,
        resets_in_s: float | None = None,
        quiet_s: float | None = None,
    ) -> None:
        declared = self._declared.get(limit.name, limit)
        self._limits.ask(
            "SELECT hub.limit_told(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                self.system,
                limit.name,
                _array(declared),
                numbers,
                remaining,
                taken_meanwhile,
                put_back,
                resets_in_s,
                quiet_s,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may still be asked of a system now; a window's `per_second` is its average.

    The three numbers are None where the system tells none and only its pauses are kept.
    """

    system: str
    limit: str
    remaining: float | None
    capacity: float | None
    per_second: float | None
    paused_until: datetime | None


def budgets(connection: Connection) -> list[Budget]:
    """The limits of all systems that were asked so far, by system and name."""
    return [_budget(row) for row in connection.execute(f"{STATE} ORDER BY system, name").fetchall()]


def _budget(row: tuple[Any, ...]) -> Budget:
    filling, now = _filling(row), row[-1]
    counted = filling.capacity > 0
    rate = filling.per_second or (filling.capacity / filling.window_s if filling.window_s else 0)
    paused = filling.quiet_until > now
    return Budget(
        system=row[0],
        limit=row[1],
        remaining=max(0.0, filling.level) if counted else None,
        capacity=filling.capacity if counted else None,
        per_second=rate if counted else None,
        paused_until=datetime.fromtimestamp(filling.quiet_until, UTC) if paused else None,
    )


def _filling(row: tuple[Any, ...]) -> Filling:
    """A row of STATE, filled up until the server's now."""
    _, _, capacity, per_second, window_s, level, as_of, quiet_until, now = row
    return Filling(
        capacity=capacity,
        per_second=per_second,
        window_s=window_s,
        level=level,
        as_of=as_of,
        quiet_until=quiet_until,
    ).at(now)


def _array(limit: Limit) -> list[float]:
    numbers = numbers_of(limit)
    return [float(numbers.capacity), float(numbers.per_second), float(numbers.window_s)]
