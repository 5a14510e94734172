"""Batches without a final answer: sent again with their key, or asked about by their receipt."""

from typing import TYPE_CHECKING

from inventory_pipeline.core.errors import ChannelError, OutcomeUnknown, SourceError
from inventory_pipeline.core.outbox import PlannedWrite
from inventory_pipeline.core.ports import Receipting
from inventory_pipeline.flow import push_log
from inventory_pipeline.flow.push_calls import Batch, Called, backoff, call
from inventory_pipeline.memory import intents, looking, sync

if TYPE_CHECKING:
    from inventory_pipeline.flow.sending import Pass

MOST_BATCHES = 100  # looked after in one pass; the rest follow in the next


class Unanswered:
    """What a pass does first: a listing that waits for an answer is neither read nor sent."""

    def __init__(self, sending: "Pass") -> None:
        self._pass = sending
        self._ctx = sending.ctx
        self._channel = sending.channel

    def resolve(self) -> None:
        """Looks after every batch that is due, until the channel fails or its settings change."""
        with self._ctx.pg.connection() as connection:
            due = intents.due(
                connection, self._channel.id, now=self._ctx.clock(), limit=MOST_BATCHES
            )
        for intent in due:
            if self._pass.circuit.waits or self._pass.settings.changed:
                return
            batch = self._batch(intent)
            if batch is None or self._is_over(intent):
                self._read_instead(intent)
            elif intent.state == "again":
                self._send_again(intent, batch)
            else:
                self._ask(intent, batch)

    def _is_over(self, intent: intents.Intent) -> bool:
        return self._ctx.clock() >= intent.until

    def _batch(self, intent: intents.Intent) -> Batch | None:
        """The batch as it was; None if one of its listings is gone."""
        with self._ctx.pg.connection() as connection:
            rows = looking.rows_at(
                connection,
                self._channel,
                self._pass.capabilities,
                intent.places,
                now=self._ctx.clock(),
            )
        if len(rows) < len(intent.places):
            return None
        writes = [
            PlannedWrite(row=rows[place], compare_milli=compared, quantity_milli=quantity)
            for place, quantity, compared in zip(
                intent.places, intent.quantities, intent.compared, strict=True
            )
        ]
        return Batch(
            key=intent.key,
            writes=writes,
            held_back=[w - q for w, q in zip(intent.written, intent.quantities, strict=True)],
            sent_at=intent.sent_at,
            base_sent_at=intent.sent_at,
            tries=intent.tries + 1,
        )

    def _send_again(self, intent: intents.Intent, batch: Batch) -> None:
        """The same content under the same key: applied once, whatever became of the first."""
        with self._ctx.pg.connection() as connection:
            sync.check_epoch(connection, self._pass.epoch)
            if not self._pass.settings.still_count(connection):
                return
            intents.store(
                connection,
                self._channel.id,
                [intents.Leaving(key=batch.key, writes=batch.writes, written=intent.written)],
                epoch=self._pass.epoch,
                mode=self._channel.mode,
                sent_at=intent.sent_at,
            )
        push_log.sent(self._ctx, self._channel.id, [batch])
        self._pass.answers.store([call(self._pass.connector, batch, self._ctx.clock)])

    def _ask(self, intent: intents.Intent, batch: Batch) -> None:
        connector, receipt = self._pass.connector, intent.receipt
        now = self._ctx.clock()
        later = now + backoff(intent.tries)
        outcomes = None
        if receipt is not None and isinstance(connector, Receipting):
            try:
                outcomes = connector.poll_receipt(receipt, batch.level_writes())
            except (ChannelError, SourceError) as error:
                self._pass.circuit.failed(error, batch.places, call="read")
                self._pass.tally.failure = str(error)
        if outcomes is None:
            with self._ctx.pg.connection() as connection:
                at = min(later, intent.until)
                intents.ask_later(connection, self._channel.id, intent.key, at)
            return
        called = Called(
            batch=batch,
            outcomes={(o.write.listing.bucket, o.write.listing.external_id): o for o in outcomes},
            error=None,
            sent_at=intent.sent_at,
            answered_at=self._ctx.clock(),
            seconds=0.0,
        )
        self._pass.answers.store([called])

    def _read_instead(self, intent: intents.Intent) -> None:
        """Nobody will say any more what became of it."""
        error = OutcomeUnknown(
            "no final answer within its time", system=self._channel.system, call="write_levels"
        )
        with self._ctx.pg.connection() as connection:
            sync.check_epoch(connection, self._pass.epoch)
            intents.let_go(
                connection, self._channel.id, [intent.key], why=str(error), at=self._ctx.clock()
            )
        self._pass.tally.add("unknown", len(intent.places))
        self._pass.tally.failure = str(error)
