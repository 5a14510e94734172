"""Circuit breakers: one row a channel, so that every process and the pages see the same state."""

from inventory_pipeline.core.breaker import Breaker
from inventory_pipeline.memory.postgres import Connection

_SEPARATOR = "\x1f"  # between bucket and external id of a suspect

_COLUMNS = (
    "channel, state, since, why, failures, failing_since, suspects, probes, next_probe_at,"
    " paused_until, acked_at, failing"
)


def breaker_of(connection: Connection, channel: str) -> Breaker:
    """The channel's breaker; closed where nothing was stored yet."""
    found = _select(connection, "WHERE channel = %s", (channel,))
    return found[0] if found else Breaker(channel=channel)


def breakers(connection: Connection) -> list[Breaker]:
    """Every breaker that was stored, by channel."""
    return _select(connection, "", ())


def store(connection: Connection, breaker: Breaker) -> None:
    """Keeps the breaker's state."""
    suspects = None
    if breaker.suspects is not None:
        suspects = sorted(_SEPARATOR.join(place) for place in breaker.suspects)
    connection.execute(
        f"INSERT INTO hub.breakers AS b ({_COLUMNS})"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (channel) DO UPDATE SET state = excluded.state, since = excluded.since,"
        " why = excluded.why, failures = excluded.failures,"
        " failing_since = excluded.failing_since, suspects = excluded.suspects,"
        " probes = excluded.probes, next_probe_at = excluded.next_probe_at,"
        " paused_until = excluded.paused_until, failing = excluded.failing,"
        " acked_at = coalesce(excluded.acked_at, b.acked_at)",
        (
            breaker.channel, breaker.state, breaker.since, breaker.why, breaker.failures,
            breaker.failing_since, suspects, breaker.probes, breaker.next_probe_at,
            breaker.paused_until, breaker.acked_at, breaker.failing,
        ),
    )  # fmt: skip


def _select(connection: Connection, where: str, values: tuple[str, ...]) -> list[Breaker]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM hub.breakers {where} ORDER BY channel", values
    )
    return [
        Breaker(
            channel=row[0], state=row[1], since=row[2], why=row[3], failures=row[4],
            failing_since=row[5], suspects=_places(row[6]), probes=row[7], next_probe_at=row[8],
            paused_until=row[9], acked_at=row[10], failing=row[11],
        )
        for row in rows
    ]  # fmt: skip


def _places(suspects: list[str] | None) -> frozenset[tuple[str, str]] | None:
    if suspects is None:
        return None
    pairs = (suspect.partition(_SEPARATOR) for suspect in suspects)
    return frozenset((bucket, external_id) for bucket, _, external_id in pairs)
