"""The limiter of one process, where no database is: `check`, `probe`, `evaluate`, and tests."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from inventory_pipeline.core.limits import (
    LONGEST_PAUSE_S,
    Filling,
    Grant,
    Limit,
    WaitingLimiter,
    filling_of,
    numbers_of,
)


class InProcessLimiter(WaitingLimiter):
    """Counts one system's calls within this process; `core.limits.Limiter` says what it does."""

    def __init__(
        self,
        system: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(system, sleep=sleep, monotonic=monotonic)
        self._lock = threading.Lock()
        self._declared: dict[str, Limit] = {}
        self._fillings: dict[str, Filling] = {}

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
        with self._lock:
            now = self._monotonic()
            known = self._fillings.get(limit.name) or filling_of(limit, now)
            declared = self._declared.setdefault(limit.name, limit)
            self._fillings[limit.name] = known.heard(
                None if limit is declared else numbers_of(limit),
                now,
                remaining=remaining,
                taken_meanwhile=taken_meanwhile,
                put_back=put_back,
                resets_in_s=resets_in_s,
            )

    def put_back(self, limit: Limit, cost: float) -> None:
        """As Limiter.put_back."""
        with self._lock:
            filled = self._filled(limit)
            level = min(filled.capacity, filled.level + cost)
            self._fillings[limit.name] = replace(filled, level=level)

    def pause(self, limit: Limit, seconds: float) -> None:
        """As Limiter.pause."""
        with self._lock:
            filled = self._filled(limit)
            until = self._monotonic() + min(seconds, LONGEST_PAUSE_S)
            self._fillings[limit.name] = replace(filled, quiet_until=max(filled.quiet_until, until))

    def remaining(self) -> dict[str, float]:
        """As Limiter.remaining."""
        with self._lock:
            now = self._monotonic()
            return {
                name: max(0.0, filling.at(now).level)
                for name, filling in self._fillings.items()
                if filling.capacity
            }

    def _ask(self, limit: Limit, cost: float, *, patience_s: float, urgent: bool) -> Grant:
        with self._lock:
            filled, now = self._filled(limit), self._monotonic()
            if self._declared.setdefault(limit.name, limit) != limit:
                self._declared[limit.name] = limit
                filled = filled.declared(numbers_of(limit), now, level=filled.level)
            filled, grant = filled.ask(cost, now, patience_s=patience_s, urgent=urgent)
            self._fillings[limit.name] = filled
            return grant

    def _quiet_s(self, limit: Limit) -> float:
        with self._lock:
            return max(0.0, self._filled(limit).quiet_until - self._monotonic())

    def _filled(self, limit: Limit) -> Filling:
        now = self._monotonic()
        return (self._fillings.get(limit.name) or filling_of(limit, now)).at(now)
