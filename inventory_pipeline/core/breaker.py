"""A circuit breaker per channel: stops asking what fails as a whole, probes, and goes on.

A streak of failures opens it once no listing is in all of them: a single bad item fails alone.
While it is open nothing is sent; after a pause that grows one small call tries whether it answers.
Pure decisions; the row is kept in memory/breakers.py, so that all processes and restarts share it.
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

OPENS_AFTER = 3  # failures in a row, none of whose listings is in all of them
BUSY_OPENS_AFTER = 8  # a channel that asks for patience is not broken yet
FIRST_PAUSE = timedelta(seconds=1)
FIRST_PROBE = timedelta(seconds=5)
LAST_PROBE = timedelta(minutes=5)
MOST_SUSPECTS = 250

Place = tuple[str, str]  # bucket, external id


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A channel's state. `since` and `why` tell of the state open, `failures` of the streak.

    `suspects` are the listings that are in every failure of the streak; None: all of them.
    `paused_until` holds in both states. `acked_at` is the newest acknowledged write.
    """

    channel: str
    state: str = "closed"  # closed | open
    since: datetime | None = None
    why: str = ""
    failures: int = 0
    failing_since: datetime | None = None
    suspects: frozenset[Place] | None = None
    probes: int = 0
    next_probe_at: datetime | None = None
    paused_until: datetime | None = None
    acked_at: datetime | None = None
    failing: str = ""  # read | write: what failed; whoever can be read may still refuse writes

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    def waits_until(self, now: datetime) -> datetime | None:
        """Until when nothing may be asked; None: now."""
        until = self.next_probe_at if self.is_open else self.paused_until
        return until if until is not None and until > now else None


def failed(
    breaker: Breaker,
    why: str,
    *,
    listings: Set[Place],
    call: str,
    now: datetime,
    certain: bool = False,
    busy: bool = False,
    pause: timedelta | None = None,
) -> Breaker:
    """After a call (read or write) that failed as a whole for these listings.

    `certain`: it refuses us, whatever is sent, so that it opens at once. `busy`: it asks for
    patience, which blames no listing. `pause`: for how long nothing is asked; None: it grows.
    """
    failures = breaker.failures + 1
    suspects = frozenset() if busy else _suspects(breaker, listings)
    if pause is None:
        # While one listing may be to blame, the others are tried soon.
        pause = FIRST_PAUSE if suspects else _pause(failures)
    streak = replace(
        breaker,
        failures=failures,
        failing_since=breaker.failing_since or now,
        suspects=suspects,
        failing="write" if "write" in (call, breaker.failing) else call,
        paused_until=now + pause if pause else None,
    )
    if breaker.is_open:
        probes = breaker.probes + 1
        next_probe_at = now + max(_probe_pause(probes), pause)
        return replace(streak, why=why, probes=probes, next_probe_at=next_probe_at)
    enough = BUSY_OPENS_AFTER if busy else OPENS_AFTER
    if certain or (failures >= enough and not suspects):
        next_probe_at = now + max(FIRST_PROBE, pause)
        return replace(streak, state="open", since=now, why=why, next_probe_at=next_probe_at)
    return streak


def answered(breaker: Breaker, *, call: str, now: datetime, acked: bool = False) -> Breaker:
    """After a call that the channel answered, whatever it said of single listings. A reading says
    nothing about writes that failed.
    """
    if call == "read" and breaker.failing == "write":
        return breaker
    acked_at = now if acked else breaker.acked_at
    if breaker.failures or breaker.is_open or breaker.paused_until is not None:
        return Breaker(channel=breaker.channel, acked_at=acked_at)
    return replace(breaker, acked_at=acked_at) if acked else breaker


def _suspects(breaker: Breaker, listings: Set[Place]) -> frozenset[Place]:
    known = frozenset(listings) if breaker.suspects is None else breaker.suspects & listings
    return frozenset() if len(known) > MOST_SUSPECTS else known


def _pause(failures: int) -> timedelta:
    return min(FIRST_PAUSE * (1 << min(failures - 1, 12)), LAST_PROBE)


def _probe_pause(probes: int) -> timedelta:
    return min(FIRST_PROBE * (1 << min(probes, 12)), LAST_PROBE)
