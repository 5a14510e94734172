"""The lines of what is sent: one a batch and outcome, with the id of whatever moved each number.

An id is made of the ledger entry that moved the number (memory/correlation.py); a batch's are asked
for in one statement, and not at all where nobody reads the line.
"""

import logging
from collections.abc import Sequence

import structlog

from inventory_pipeline.config.logs import in_lines, wanted
from inventory_pipeline.core.outbox import OutboxRow
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.push_calls import Batch, Called
from inventory_pipeline.memory import correlation
from inventory_pipeline.memory.attempts import Answer

log = structlog.get_logger("push")

_DONE = frozenset({"acked", "accepted", "shadow"})
_COMES_TO_NOTHING = frozenset({"stale", "split"})  # read, or sent in smaller parts, at once


def sent(ctx: HubContext, channel: str, batches: Sequence[Batch]) -> None:
    """These batches leave now; their intents are stored."""
    if not batches or not wanted(log, logging.INFO):
        return
    ids = _Ids(ctx, [write.row for batch in batches for write in batch.writes])
    for batch in batches:
        rows = [write.row for write in batch.writes]
        for some in in_lines(ids.of(rows)):
            log.info(
                "sent", channel=channel, key=batch.key, listings=len(rows), tries=batch.tries,
                retried=sum(row.attempts > 0 for row in rows), correlation_ids=some,
            )  # fmt: skip
        if wanted(log, logging.DEBUG):
            for write in batch.writes:
                log.debug(
                    "sent one", channel=channel, key=batch.key, sku=write.row.sku,
                    bucket=write.row.listing.bucket, external_id=write.row.listing.external_id,
                    quantity_milli=write.quantity_milli, compare_milli=write.compare_milli,
                    desired_offset=write.row.desired_offset, correlation_id=ids.one(write.row),
                )  # fmt: skip


def answered(
    ctx: HubContext, channel: str, judged: Sequence[tuple[Called, Sequence[Answer]]]
) -> None:
    """What became of these batches; their answers are stored."""
    if not judged or not wanted(log, logging.INFO):
        return
    ids = _Ids(ctx, [answer.write.row for _, answers in judged for answer in answers])
    for called, answers in judged:
        for outcome in dict.fromkeys(answer.outcome for answer in answers):
            _tell(channel, called, [a for a in answers if a.outcome == outcome], ids)
    _tell_dead(ctx, channel, judged, ids)


def noted(ctx: HubContext, channel: str, rows: Sequence[OutboxRow]) -> None:
    """A shadow: this would have been sent."""
    if rows and wanted(log, logging.INFO):
        for some in in_lines(_Ids(ctx, rows).of(rows)):
            log.info("noted", channel=channel, listings=len(rows), correlation_ids=some)


def _tell(channel: str, called: Called, answers: Sequence[Answer], ids: "_Ids") -> None:
    outcome, error = answers[0].outcome, answers[0].error
    rows = [answer.write.row for answer in answers]
    common = {
        "channel": channel, "key": called.batch.key, "listings": len(rows),
        "took_s": round(called.seconds, 4),
    }  # fmt: skip
    for some in in_lines(ids.of(rows)):
        if outcome in _DONE:
            log.info(outcome, **common, correlation_ids=some)
            continue
        later = [answer.later for answer in answers if answer.later is not None]
        say = log.info if outcome in _COMES_TO_NOTHING else log.warning
        say(
            "failed", **common, outcome=outcome, why=str(error) if error else None,
            retry_at=min(later).isoformat() if later else None, correlation_ids=some,
        )  # fmt: skip
    if wanted(log, logging.DEBUG):
        for answer in answers:
            row = answer.write.row
            log.debug(
                "answered one", outcome=outcome, channel=channel, key=called.batch.key, sku=row.sku,
                bucket=row.listing.bucket, external_id=row.listing.external_id,
                quantity_milli=answer.write.quantity_milli, correlation_id=ids.one(row),
            )  # fmt: skip


def _tell_dead(
    ctx: HubContext,
    channel: str,
    judged: Sequence[tuple[Called, Sequence[Answer]]],
    ids: "_Ids",
) -> None:
    """Whatever these answers brought into the dead letter; asked for only where some failed."""
    for called, answers in judged:
        failed = {
            answer.write.row.place: answer.write.row
            for answer in answers
            if answer.outcome in {"unknown", "busy", "refused"} and answer.later is not None
        }
        if not failed:
            continue
        buckets, external_ids = zip(*failed, strict=True)
        with ctx.pg.connection() as connection:
            dead = connection.execute(
                "SELECT o.bucket, o.external_id FROM hub.outbox o"
                " JOIN unnest(%s::text[], %s::text[]) AS p (bucket, external_id)"
                " USING (bucket, external_id) WHERE o.channel = %s AND o.dead_at = %s",
                (list(buckets), list(external_ids), channel, called.answered_at),
            ).fetchall()
        if dead:
            rows = [failed[place] for place in dead]
            for some in in_lines(ids.of(rows)):
                log.warning(
                    "dead", channel=channel, key=called.batch.key, listings=len(rows),
                    skus=[row.sku for row in rows[:20]], correlation_ids=some,
                )  # fmt: skip


class _Ids:
    """Ids of rows: one lookup for what this process has not asked for before."""

    def __init__(self, ctx: HubContext, rows: Sequence[OutboxRow]) -> None:
        # Of what no entry of its own moved, the newest entry may be the changed rules.
        offsets = {row.desired_offset if row.caused_by is None else row.caused_by for row in rows}
        missing = ctx.correlations.missing(offsets)
        if missing:
            with ctx.pg.connection() as connection:
                ctx.correlations.learn(connection, missing)
        self._names = ctx.correlations.names(offsets)

    def one(self, row: OutboxRow) -> str:
        if row.caused_by is None:
            name = self._names.get(row.desired_offset, "")
            of_rules = name.startswith(correlation.OF_RULES)
            return name if of_rules else correlation.of_clock(row.computed_at)
        return self._names.get(row.caused_by, f"ledger/{row.caused_by}")

    def of(self, rows: Sequence[OutboxRow]) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(map(self.one, rows)))
