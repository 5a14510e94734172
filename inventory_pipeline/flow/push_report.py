"""What a pass over a channel did, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from inventory_pipeline.core.outbox import OutboxRow

MOST_LATENCIES = 10_000  # the newest are kept: enough for a percentile, whatever is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What one pass over a channel did; counts are listings, latencies seconds to the answer."""

    channel: str
    settled: int = 0
    read: int = 0
    acked: int = 0
    accepted: int = 0  # not applied yet: the channel is asked again
    stale: int = 0
    busy: int = 0
    refused: int = 0
    unknown: int = 0
    shadow: int = 0
    not_listed: int = 0
    postponed: int = 0
    held: int = 0  # by the guard
    spent: int = 0  # no revision is left for them today
    breaker: str = ""  # why the channel is not asked for a while
    failure: str = ""
    latency_s: tuple[float, ...] = ()  # received → acked, one per acknowledged write

    def __add__(self, other: "PushReport") -> "PushReport":
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return PushReport(
            channel=self.channel,
            failure=other.failure or self.failure,
            breaker=other.breaker or self.breaker,
            latency_s=(self.latency_s + other.latency_s)[-MOST_LATENCIES:],
            **counts,
        )


_COUNTS = tuple(field.name for field in fields(PushReport) if field.type is int)


class Tally:
    """A report in the making; `add` counts listings by the names of the report's fields."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._latency_s: list[float] = []
        self.failure = ""
        self.breaker = ""

    def add(self, name: str, count: int) -> None:
        self._counts[name] += count

    def acked(self, rows: Sequence[OutboxRow], answered_s: float) -> None:
        """Rows acknowledged at this time, in seconds since the epoch."""
        self._counts["acked"] += len(rows)
        self._latency_s += [
            answered_s - row.received_at.timestamp() for row in rows if row.received_at is not None
        ]

    def report(self) -> PushReport:
        return PushReport(
            channel=self._channel,
            failure=self.failure,
            breaker=self.breaker,
            latency_s=tuple(self._latency_s[-MOST_LATENCIES:]),
            **self._counts,
        )
