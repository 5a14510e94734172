"""Does about open variances what their causes call for, and records it (SEMANTICS §9)."""

from collections import defaultdict
from collections.abc import Sequence

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.core.errors import SystemFailure
from inventory_pipeline.core.heals import SENDS, TELLS, Heal, decide
from inventory_pipeline.core.vocabulary import Cause, Mode
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.reconcile_orders import LONGEST_LOOK_BACK, ingest
from inventory_pipeline.memory import outbox
from inventory_pipeline.memory.heals import HUB, Due, decided, due

MAX_HEALS = 10_000  # a run; what is left over comes with the next
SENDING = frozenset({Mode.LIVE, Mode.CANARY})
_RESULTS = {
    Heal.NONE: "nothing: it is told for the record",
    Heal.REREAD: "looked at again by the next comparison",
    Heal.ALERT: "a person is told",
    Heal.REPUSH: "read again and sent by the next sync",
    Heal.REPUSH_AND_ALERT: "read again and sent by the next sync; a person is told",
}


def heal(
    ctx: HubContext,
    *,
    by: str = HUB,
    most: int = MAX_HEALS,
    only: Sequence[int] | None = None,
) -> dict[str, int]:
    """Works through open variances that nothing was decided about, at most `most`; of `only` these
    ids where given. Returns channel → listings that are sent again or whose orders came in.

    Channels that nothing is sent to are left alone. Raises PostgresUnavailable only.
    """
    channels = {c.id: c for c in ctx.hub.channels.values() if c.mode in SENDING}
    with ctx.pg.connection() as connection:
        rows = due(connection, channels, limit=most, only=only)
    by_work: dict[tuple[str | None, Heal], list[Due]] = defaultdict(list)
    for row in rows:
        by_work[row.channel, _decided(channels, row)].append(row)
    healed: dict[str, int] = {}
    for (channel, what), some in by_work.items():
        if what is Heal.INGEST and channel is not None:
            done = _ingest(ctx, channels[channel], some, by=by)
        else:
            done = _note(ctx, channel, what, some, by=by)
        if done and channel is not None:
            healed[channel] = healed.get(channel, 0) + done
    return healed


def _decided(channels: dict[str, Channel], row: Due) -> Heal:
    channel = channels.get(row.channel) if row.channel is not None else None
    return decide(
        Cause(row.cause),
        row.comparison,
        tries=row.repushes,
        overrides=channel.heal if channel else None,
        possible=not row.obstacle,
    )


def _note(ctx: HubContext, channel: str | None, what: Heal, some: Sequence[Due], *, by: str) -> int:
    """Everything but ingesting, in one transaction."""
    sends = what in SENDS and channel is not None
    at = ctx.clock()
    with ctx.pg.connection() as connection:
        if sends and channel is not None:
            outbox.repush(connection, channel, [_place(row) for row in some])
        for result, numbers in _by_result(what, some).items():
            decided(
                connection, numbers, what, at=at, by=by, result=result, sent=sends,
                tell=what in TELLS,
            )  # fmt: skip
    return len(some) if sends else 0


def _by_result(what: Heal, some: Sequence[Due]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for row in some:
        waits = f"waits: {row.obstacle or 'it is not possible now'}"
        found[_RESULTS.get(what, waits)].append(row.variance_id)
    return found


def _ingest(ctx: HubContext, channel: Channel, some: Sequence[Due], *, by: str) -> int:
    """Lists the channel's orders once for all of these, and lands those that the ledger lacks."""
    at = ctx.clock()
    earliest = at - LONGEST_LOOK_BACK
    bases = [row.base_at for row in some if row.base_at is not None]
    since = max(earliest, min(bases, default=earliest) - channel.skew)
    numbers = [row.variance_id for row in some]
    try:
        count = ingest(ctx, channel, ctx.connectors[channel.system], since)
    except SystemFailure as error:
        with ctx.pg.connection() as connection:
            decided(connection, numbers, Heal.WAIT, at=at, by=by, result=f"failed: {error}")
        return 0
    result = f"{count.accepted} events of its orders came into the ledger"
    with ctx.pg.connection() as connection:
        decided(
            connection, numbers, Heal.INGEST, at=at, by=by, result=result, sent=True,
            detail={"accepted": count.accepted, "since": since.isoformat()},
        )  # fmt: skip
    return len(some)


def _place(row: Due) -> tuple[str, str]:
    assert row.bucket is not None
    assert row.external_id is not None
    return (row.bucket, row.external_id)
