"""Sends what a channel must show and does not: settle, read, write, remember (SEMANTICS §8)."""

import gc
import sys
from collections.abc import Sequence

from inventory_pipeline.config.policy import Channel
from inventory_pipeline.config.selectors import best_sku_rank
from inventory_pipeline.core.outbox import OutboxRow, PlannedWrite, intent_key
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow import push_log
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.flow.push_report import PushReport, Tally
from inventory_pipeline.flow.sending import Pass
from inventory_pipeline.memory import attempts, intents, outbox, sync

__all__ = ["PushReport", "push_channel"]

SHADOW_ROWS = 5_000  # noted in one statement
SHADOW_ROUNDS = 100
# Rows come and go by the ten thousand and hold no cycles: looking for some costs a tenth of it all.
COLLECT_AFTER = 100_000
TURN_S = 0.001  # a call that was answered waits at most so long for whoever computes


def push_channel(ctx: HubContext, channel_id: str, epoch: int) -> PushReport:
    """Works through the channel's rows that need a look until none is due or nothing more can be
    done, at most for a few seconds: what is left is due for the next call.

    Failures of the channel are counted and their rows postponed, never raised. Raises Superseded
    when another drain has taken over, and PostgresUnavailable.
    """
    _tune()
    channel = ctx.hub.channels[channel_id]
    tally = Tally(channel_id)
    if channel.mode in {Mode.SHADOW, Mode.CANARY}:
        _shadow(ctx, channel, epoch, tally)
    if channel.mode in {Mode.LIVE, Mode.CANARY}:
        among = sent_skus(ctx, channel)
        with ctx.pg.connection() as connection:
            sync.check_epoch(connection, epoch)
            # What a shadow noted is no base: it is read before anything is written.
            outbox.start_sending(connection, channel.id, among=among)
        Pass(ctx, channel, epoch, tally, among=among).run()
    return tally.report()


def _tune() -> None:
    """For the whole process, once: it works on many rows while calls wait for their answers."""
    if gc.get_threshold()[0] < COLLECT_AFTER:
        gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
        sys.setswitchinterval(TURN_S)


def sent_skus(ctx: HubContext, channel: Channel) -> list[str] | None:
    """The skus that a canary channel sends; None stands for all, of a channel that is live."""
    if channel.mode is Mode.LIVE:
        return None
    items = ctx.hub.catalog.items.values()
    return [item.sku for item in items if best_sku_rank(channel.canary_skus, item) is not None]


def _shadow(ctx: HubContext, channel: Channel, epoch: int, tally: Tally) -> None:
    """Records what would have been sent, and sends nothing."""
    sent = (sent_skus(ctx, channel) or []) if channel.mode is Mode.CANARY else []
    if channel.mode is Mode.SHADOW:
        with ctx.pg.connection() as connection:
            sync.check_epoch(connection, epoch)
            intents.let_go(
                connection, channel.id, None, why="the channel sends no more", at=ctx.clock()
            )
    for _ in range(SHADOW_ROUNDS):
        with ctx.pg.connection() as connection:
            rows = outbox.rows_to_look_at(
                connection,
                channel,
                ctx.connectors[channel.system].capabilities,
                now=ctx.clock(),
                limit=SHADOW_ROWS,
                without=sent,
            )
        if not rows:
            return
        _note(ctx, channel, epoch, rows, tally)


def _note(
    ctx: HubContext, channel: Channel, epoch: int, rows: Sequence[OutboxRow], tally: Tally
) -> None:
    now = ctx.clock()
    # What the shadow said last stands for what the channel would be showing now.
    writes = [
        PlannedWrite(row=row, compare_milli=row.showing_milli or 0)
        for row in rows
        if row.showing_milli != row.desired_milli
    ]
    noted = {write.row.place for write in writes}
    sent = attempts.Sent(
        channel=channel.id,
        key=intent_key(channel.id, writes),
        epoch=epoch,
        mode=Mode.SHADOW,
        sent_at=now,
        answered_at=now,
        base_sent_at=now,
    )
    giving_up = attempts.GivingUp(max_attempts=1, give_up=channel.push.give_up, acked_at=None)
    with ctx.pg.connection() as connection:
        sync.check_epoch(connection, epoch)
        answers = [attempts.Answer(write=write, outcome="shadow") for write in writes]
        attempts.store_answers(connection, [(answers, sent)], giving_up)
        outbox.settle_read(connection, [row for row in rows if row.place not in noted])
    tally.add("shadow", len(writes))
    push_log.noted(ctx, channel.id, [write.row for write in writes])
