"""Answers of a channel: what they mean for its listings, its breaker and what goes next."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from inventory_pipeline.core.errors import (
    AccessRefused,
    OutcomeUnknown,
    StaleCompare,
    SystemFailure,
)
from inventory_pipeline.core.outbox import PlannedWrite, must_be_verified
from inventory_pipeline.core.ports import Completion, Write
from inventory_pipeline.flow import push_log
from inventory_pipeline.flow.push_calls import (
    Batch,
    Called,
    answers_of,
    backoff,
    is_refusal,
    outcome_of,
    receipts_of,
)
from inventory_pipeline.flow.push_lane import Lane
from inventory_pipeline.flow.push_reading import Reader
from inventory_pipeline.memory import attempts, intents, sync
from inventory_pipeline.memory.arrays import join_by_index
from inventory_pipeline.memory.attempts import Answer, GivingUp, Sent
from inventory_pipeline.memory.postgres import Connection

MOST_TRIES = 3  # of a batch whose outcome is unknown, with the same key; then it is read
Judged = tuple[Called, list[Answer]]
_COUNTED = frozenset({"accepted", "stale", "busy", "refused", "unknown"})
_NO_FAILURE = frozenset({"acked", "accepted", "stale", "split"})


class Answers:
    """Judges and stores the answers of one pass. `smaller` are parts of a batch that was refused
    as a whole, or that another item spoiled: they go next, as they are.
    """

    def __init__(self, lane: Lane, reader: Reader) -> None:
        self._lane = lane
        self._channel = lane.channel
        self._capabilities = lane.capabilities
        self._circuit = lane.circuit
        self._tally = lane.tally
        self._reader = reader
        self.smaller: deque[list[PlannedWrite]] = deque()

    def store(self, called: Sequence[Called], unsent: Sequence[Batch] = ()) -> None:
        """Judges these answers, stores them and counts them."""
        judged = self.judge(called)
        self.keep(judged, unsent)
        self.count(judged)

    def judge(self, called: Sequence[Called]) -> list[Judged]:
        """What became of each write; what has to go again at once is in `smaller`."""
        judged = [(answer, self._judged(answer)) for answer in called]
        if self._circuit.breaker.is_open:
            judged = [(answer, _not_to_blame(answer, answers)) for answer, answers in judged]
        return judged

    def keep(self, judged: Sequence[Judged], unsent: Sequence[Batch] = ()) -> None:
        """Stores these answers in one transaction; of what was not sent nothing is left.

        May run beside the lane's thread: it changes nothing but the memory. An answer that a crash
        of the server's machine loses was never stored: its batch is as unanswered as before.
        """
        with self._lane.ctx.pg.connection() as connection:
            sync.check_epoch(connection, self._lane.epoch)
            join_by_index(connection)
            connection.execute("SET LOCAL synchronous_commit TO off")
            ended = [a.batch.key for a, answers in judged if self._ends(connection, a, answers)]
            ended += [batch.key for batch in unsent]
            attempts.store_answers(connection, self._by_verification(judged), self._giving_up())
            intents.end(connection, self._channel.id, ended)

    def count(self, judged: Sequence[Judged]) -> None:
        """Tallies what was stored."""
        for answer, answers in judged:
            self._count(answer, answers)
        push_log.answered(self._lane.ctx, self._channel.id, judged)

    def _judged(self, called: Called) -> list[Answer]:
        error = called.error
        if error is None or isinstance(error, StaleCompare):
            answers = (
                answers_of(called, system=self._channel.system)
                if error is None
                else [Answer(write=w, outcome="stale", error=error) for w in called.batch.writes]
            )
            acked = any(answer.outcome == "acked" for answer in answers)
            self._circuit.answered(call="write", acked=acked)
            again = [answer.write for answer in answers if answer.outcome == "split"]
            if again:
                self.smaller.append(again)
            return answers
        self._circuit.failed(error, called.batch.places, call="write")
        return self._failed_whole(called, error)

    def _failed_whole(self, called: Called, error: SystemFailure) -> list[Answer]:
        """The call failed: one of its items may be to blame, or the channel."""
        writes = called.batch.writes
        outcome = outcome_of(error)
        later: datetime | None = None
        if is_refusal(error):
            if isinstance(error, AccessRefused) or self._circuit.breaker.is_open:
                outcome = "busy"  # it refuses us, not the item
            elif len(writes) > 1:
                outcome = "split"
                middle = len(writes) // 2
                self.smaller.extend([list(writes[:middle]), list(writes[middle:])])
            else:
                later = called.answered_at
        elif isinstance(error, OutcomeUnknown) and not self._may_repeat(called):
            return [
                Answer(
                    write=write,
                    outcome="unknown",
                    error=error,
                    # Longer than the channel's own pause: others are tried in between.
                    later=called.answered_at + backoff(write.row.attempts + 1),
                )
                for write in writes
            ]
        return [Answer(write=write, outcome=outcome, error=error, later=later) for write in writes]

    def _may_repeat(self, called: Called) -> bool:
        """Whether the channel still knows this key when it comes again."""
        lifetime = self._capabilities.idempotency
        return (
            lifetime is not None
            and called.batch.tries < MOST_TRIES
            and self._again_at(called) < called.batch.sent_at + lifetime * 0.9
        )

    def _again_at(self, called: Called) -> datetime:
        return called.answered_at + backoff(called.batch.tries - 1)

    def _ends(self, connection: Connection, called: Called, answers: list[Answer]) -> bool:
        """Whether the batch is answered for good; else what it waits for is stored."""
        batch, channel = called.batch, self._channel.id
        receipt = receipts_of(called)
        accepted = [a.write.row.place for a in answers if a.outcome == "accepted"]
        if receipt is not None and accepted:
            intents.wait_for_receipt(connection, channel, batch.key, receipt)
            intents.keep_only(connection, channel, batch.key, accepted)
            return False
        if isinstance(called.error, OutcomeUnknown) and answers[0].later is None:
            lifetime = self._capabilities.idempotency or timedelta(0)
            intents.wait_to_send_again(
                connection,
                channel,
                batch.key,
                due_at=self._again_at(called),
                until=batch.sent_at + lifetime * 0.9,
            )
            return False
        return True

    def _giving_up(self) -> GivingUp:
        push = self._channel.push
        return GivingUp(
            max_attempts=push.max_attempts,
            give_up=push.give_up,
            acked_at=self._circuit.breaker.acked_at,
        )

    def _by_verification(self, judged: Sequence[Judged]) -> list[tuple[list[Answer], Sent]]:
        """The answers of each batch, those apart whose listings are read afterwards."""
        found: list[tuple[list[Answer], Sent]] = []
        for called, answers in judged:
            now = called.answered_at
            if self._capabilities.completion is Completion.EVENTUAL:
                found.append((answers, self._sent(called, now + self._capabilities.applied_within)))
                continue
            parts: dict[bool, list[Answer]] = {}
            for answer in answers:
                verified = must_be_verified(self._capabilities, answer.write.quantity_milli)
                parts.setdefault(verified, []).append(answer)
            for verified, part in parts.items():
                found.append((part, self._sent(called, now if verified else None)))
        return found

    def _sent(self, called: Called, verify_at: datetime | None) -> Sent:
        batch = called.batch
        adds = self._capabilities.write is Write.DELTA
        return Sent(
            channel=self._channel.id,
            key=batch.key,
            epoch=self._lane.epoch,
            mode=self._channel.mode,
            sent_at=batch.sent_at if batch.tries > 1 else called.sent_at,
            answered_at=called.answered_at,
            base_sent_at=min(batch.base_sent_at, called.sent_at),
            verify_at=verify_at,
            adds=adds,
            calm_after=batch.base_sent_at - self._channel.skew,
        )

    def _count(self, called: Called, answers: Sequence[Answer]) -> None:
        acked = [answer.write.row for answer in answers if answer.outcome == "acked"]
        self._tally.acked(acked, called.answered_at.timestamp())
        for answer in answers:
            if answer.outcome in _COUNTED:
                self._tally.add(answer.outcome, 1)
            if answer.outcome not in _NO_FAILURE and not self._tally.failure:
                self._tally.failure = str(answer.error)
        self._reader.wrote([answer.write.row.place for answer in answers])


def _not_to_blame(called: Called, answers: list[Answer]) -> list[Answer]:
    """A channel that refuses everything says nothing about the listing that it refused alone."""
    if called.error is None or not is_refusal(called.error):
        return answers
    return [replace(answer, outcome="busy", later=None) for answer in answers]
