"""How much may be asked of a system, and who is asked first: a limiter that all processes share.

A connector names its limits and takes from them before it calls. Where the hub runs, the limiter
keeps its state in Postgres, so that every process of the hub draws from the same bucket; alone
(`check`, `probe` without a database) it counts within its process.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from inventory_pipeline.core.errors import ChannelBusy

RESERVE = 0.2  # the part of a bucket that is left to urgent callers
AGE_S = 2.0  # who has waited so long is as urgent as anybody: reading never starves
LONGEST_PAUSE_S = 3600.0
SAME_WINDOW = 0.1  # beginnings that are told less than this part of a window apart are the same
MAX_ASKS = 100_000
SHORTEST_SLEEP_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """`capacity` units at most at once; `per_second` of them come back (Shopify's cost, Amazon's
    rate and burst).
    """

    name: str  # unique within its system: "cost", "patchListingsItem"
    capacity: float
    per_second: float

    def __post_init__(self) -> None:
        if not (self.capacity > 0 and self.per_second > 0):
            raise ValueError(f"limit {self.name}: capacity and per_second must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`units` within `seconds`, shared by everybody who asks the system (BigCommerce)."""

    name: str
    units: float
    seconds: float

    def __post_init__(self) -> None:
        if not (self.units > 0 and self.seconds > 0):
            raise ValueError(f"limit {self.name}: units and seconds must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """A system that tells no number: only the pauses that it asks for are kept."""

    name: str = "calls"


Limit = TokenBucket | Window | Pauses


class Limiter(Protocol):
    """The limits of one system, shared by all processes of the hub. Safe in several threads.

    What a limit allows is learnt: `take` uses the numbers of the limit that it is given until
    `told` is given a limit of the same name with others. The very limit that `take` was given says
    nothing about numbers there.
    """

    def take(
        self, limit: Limit, cost: float = 1, *, patience_s: float, urgent: bool = True
    ) -> float:
        """Waits until `cost` units are there and takes them; first come, first served. Gives what
        was taken: a cost that is more than the limit can ever hold counts as all that it holds.

        Who is not urgent (a whole catalogue is read) leaves a fifth of the bucket to those who are,
        for the first 2 s. Raises ChannelBusy with retry_after_s if all that would last longer than
        `patience_s`; nothing is taken then.
        """

    def told(
        self,
        limit: Limit,
        *,
        remaining: float | None = None,
        taken_meanwhile: float = 0,
        put_back: float = 0,
        resets_in_s: float | None = None,
    ) -> None:
        """The system's own word for what is left now: our own count is never above it.

        It may be below, because it holds what was taken for calls that are still on their way.
        remaining: None where it tells only other numbers (a rate, in `limit`).
        taken_meanwhile: units that it cannot have seen yet, where the caller knows them.
        put_back: units that were taken for the call and not used; below 0 where it cost more.
        resets_in_s: when a window begins anew.
        """

    def put_back(self, limit: Limit, cost: float) -> None:
        """Returns what was taken for a call that never reached the system."""

    def pause(self, limit: Limit, seconds: float) -> None:
        """The system asks for quiet (429 with Retry-After): nobody takes anything until then."""

    def remaining(self) -> dict[str, float]:
        """Units left now, by the limit's name; of limits that were used and have a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The answer to a wish: whether `cost` units were taken, and after how many seconds they are
    there.
    """

    granted: bool
    wait_s: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How full a limit is at `as_of`, seconds of any clock; a window's began then.

    `level` below 0 is what was promised to callers that wait for it now. The arithmetic of limits,
    once; memory/migrations has it in SQL again, and a test holds the two together.
    """

    capacity: float  # 0: no number is known
    per_second: float  # 0: a window
    window_s: float
    level: float
    as_of: float
    quiet_until: float = float("-inf")

    def at(self, now: float) -> "Filling":
        """The same limit, filled up until `now`. A clock that was set back costs the time that it
        lost.
        """
        quiet_until = min(self.quiet_until, now + LONGEST_PAUSE_S)
        elapsed, level, as_of = max(0.0, now - self.as_of), self.level, now
        if self.per_second:
            level = min(self.capacity, level + elapsed * self.per_second)
        elif self.window_s:
            begun = elapsed // self.window_s
            level = min(self.capacity, level + begun * self.capacity)
            # A new window begins with what is taken first, unless some of it is promised already.
            if level < self.capacity:
                as_of = min(self.as_of, now) + begun * self.window_s
        return replace(self, level=level, as_of=as_of, quiet_until=quiet_until)

    def declared(self, numbers: "Numbers", now: float, *, level: float) -> "Filling":
        """The same limit with other numbers; `self` is filled up until `now`."""
        return replace(
            self,
            capacity=numbers.capacity,
            per_second=numbers.per_second,
            window_s=numbers.window_s,
            level=min(level, numbers.capacity),
            as_of=self.as_of if self.window_s and numbers.window_s else now,
        )

    def wait_s(self, cost: float, now: float) -> float:
        """Seconds until `cost` units are there; `self` is filled up until `now`."""
        missing = cost - self.level
        wait = 0.0
        if self.capacity and missing > 0:
            if self.per_second:
                wait = missing / self.per_second
            else:
                windows = -(-missing // self.capacity)
                wait = windows * self.window_s - (now - self.as_of)
        return max(wait, self.quiet_until - now, 0.0)

    def ask(
        self, cost: float, now: float, *, patience_s: float, urgent: bool
    ) -> "tuple[Filling, Grant]":
        """What becomes of a wish for `cost` units: the limit after it, and the answer.

        An urgent wish is promised its units and waits for them in turn; another one gets them only
        if they and the reserve are there now.
        """
        filled = self.at(now)
        cost = min(cost, self.capacity)
        reserve = 0.0 if urgent else min(RESERVE * self.capacity, self.capacity - cost)
        wait = filled.wait_s(cost + reserve, now)
        granted = wait <= (patience_s if urgent else 0)
        if granted:
            filled = replace(filled, level=filled.level - cost)
        return filled, Grant(granted=granted, wait_s=wait, cost=cost)

    def heard(
        self,
        numbers: "Numbers | None",
        now: float,
        *,
        remaining: float | None,
        taken_meanwhile: float,
        put_back: float,
        resets_in_s: float | None,
    ) -> "Filling":
        """The limit after the system's own word (`Limiter.told`); `numbers` are None where it told
        no others.

        Never raised to what the system tells, but for a window that began after ours: a call that
        was promised its units earlier may come there later. A count that is too low costs nothing,
        since as much comes back each second.
        """
        filled = self.at(now)
        if numbers is not None:
            # As many units are out as before; the bucket is larger or smaller.
            level = filled.level + numbers.capacity - self.capacity
            filled = filled.declared(numbers, now, level=level)
        filled = replace(filled, level=min(filled.level + put_back, filled.capacity))
        if resets_in_s is not None and filled.window_s:
            begun = now + min(resets_in_s, filled.window_s) - filled.window_s
            ahead = (begun - filled.as_of) / filled.window_s
            if ahead <= SAME_WINDOW - 1:
                return filled  # an answer of the last window, arrived in this one
            filled = replace(filled, as_of=begun)
            if ahead > SAME_WINDOW:
                filled = replace(filled, level=min(filled.level, 0.0) + filled.capacity)
        if remaining is not None:
            level = min(filled.level, remaining - taken_meanwhile)
            filled = replace(filled, level=level)
        return filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A limit's numbers in one shape; 0 where it has none."""

    capacity: float = 0
    per_second: float = 0
    window_s: float = 0


def numbers_of(limit: Limit) -> Numbers:
    match limit:
        case TokenBucket():
            return Numbers(capacity=limit.capacity, per_second=limit.per_second)
        case Window():
            return Numbers(capacity=limit.units, window_s=limit.seconds)
        case Pauses():
            return Numbers()


def filling_of(limit: Limit, now: float) -> Filling:
    """A limit that nobody has taken from: full."""
    numbers = numbers_of(limit)
    return Filling(
        capacity=numbers.capacity,
        per_second=numbers.per_second,
        window_s=numbers.window_s,
        level=numbers.capacity,
        as_of=now,
    )


class WaitingLimiter(ABC):
    """The waiting that every limiter does, over a state that answers at once.

    `sleep` and `monotonic` are seconds of this process alone.
    """

    def __init__(
        self,
        system: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.system = system
        self._sleep = sleep
        self._monotonic = monotonic

    @abstractmethod
    def _ask(self, limit: Limit, cost: float, *, patience_s: float, urgent: bool) -> Grant:
        """One wish, answered at once."""

    @abstractmethod
    def _quiet_s(self, limit: Limit) -> float:
        """Seconds of a pause that is still to be kept."""

    @abstractmethod
    def put_back(self, limit: Limit, cost: float) -> None: ...

    def take(
        self, limit: Limit, cost: float = 1, *, patience_s: float, urgent: bool = True
    ) -> float:
        """As Limiter.take."""
        began = self._monotonic()
        age_s = 0.0 if urgent else min(AGE_S, patience_s / 2)
        for _ in range(MAX_ASKS):
            waited = self._monotonic() - began
            old = urgent or 0 < age_s <= waited
            left = max(0.0, patience_s - waited)
            grant = self._ask(limit, cost, patience_s=left, urgent=old)
            if grant.granted:
                return self._kept(limit, grant, began=began, patience_s=patience_s)
            if old or waited >= patience_s:
                raise self._busy(limit, grant.wait_s)
            self._sleep(max(SHORTEST_SLEEP_S, min(grant.wait_s, age_s - waited)))
        raise self._busy(limit, AGE_S)

    def _kept(self, limit: Limit, grant: Grant, *, began: float, patience_s: float) -> float:
        """Waits for what was promised, and for a pause that began meanwhile."""
        wait = grant.wait_s
        for _ in range(MAX_ASKS):
            if wait <= 0:
                return grant.cost
            self._sleep(wait)
            wait = self._quiet_s(limit)
            if wait > 0 and self._monotonic() - began + wait > patience_s:
                break
        self.put_back(limit, grant.cost)
        raise self._busy(limit, wait)

    def _busy(self, limit: Limit, wait_s: float) -> ChannelBusy:
        return ChannelBusy(
            f"the system's rate limit ({limit.name}) asks for {wait_s:.1f} s of patience",
            system=self.system,
            call=f"wait for {limit.name}",
            retry_after_s=wait_s,
            hint="nothing was sent; it is tried again later.",
        )
