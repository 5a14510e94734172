"""One call to a channel, and what its answer means for each listing. Nothing is stored here."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from time import perf_counter

from inventory_pipeline.core.errors import (
    AccessRefused,
    ChannelBusy,
    ChannelError,
    ChannelRefused,
    OutcomeUnknown,
    SourceError,
    SourceRefused,
    StaleCompare,
    SystemFailure,
)
from inventory_pipeline.core.outbox import OutboxRow, PlannedWrite
from inventory_pipeline.core.ports import Clock, Connector, LevelWrite, Receipt, WriteOutcome
from inventory_pipeline.memory.attempts import Answer

FIRST_RETRY = timedelta(seconds=1)
LAST_RETRY = timedelta(minutes=5)

Place = tuple[str, str]  # bucket, external id

_turns: dict[str, Lock] = {}  # by system


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Writes that go out under one key. `held_back` is what the platform holds reserved of each:
    added to what is written where the channel's numbers are its on_hand.
    """

    key: str
    writes: Sequence[PlannedWrite]
    held_back: Sequence[int]
    sent_at: datetime
    base_sent_at: datetime  # the moment since which its own events are not known to be in it
    tries: int = 1

    @property
    def written_milli(self) -> list[int]:
        """What the channel is told, write by write."""
        return [w.quantity_milli + r for w, r in zip(self.writes, self.held_back, strict=True)]

    def level_writes(self) -> list[LevelWrite]:
        return [
            LevelWrite(
                listing=write.row.listing,
                quantity_milli=write.quantity_milli + reserved,
                compare_milli=write.compare_milli + reserved,
            )
            for write, reserved in zip(self.writes, self.held_back, strict=True)
        ]

    @property
    def places(self) -> frozenset[Place]:
        return frozenset(write.row.place for write in self.writes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A batch with its answer: outcomes by listing, or the error of the whole call."""

    batch: Batch
    outcomes: Mapping[Place, WriteOutcome]
    error: SystemFailure | None
    sent_at: datetime
    answered_at: datetime
    seconds: float


def call(connector: Connector, batch: Batch, clock: Clock) -> Called:
    """Sends the batch. Whatever the other side does is in the answer; nothing of it is raised."""
    with _turn(connector):
        began, sent_at = perf_counter(), clock()
        error: SystemFailure | None = None
        outcomes: Sequence[WriteOutcome] = ()
        try:
            outcomes = _written(connector, batch)
        except (ChannelError, SourceError) as raised:
            error = raised
        return Called(
            batch=batch,
            outcomes={
                (outcome.write.listing.bucket, outcome.write.listing.external_id): outcome
                for outcome in outcomes
            },
            error=error,
            sent_at=sent_at,
            answered_at=clock(),
            seconds=perf_counter() - began,
        )


def _turn(connector: Connector) -> AbstractContextManager[object]:
    """Where a system takes one write at a time, the others wait here, of whichever channel. Only
    one process drains, so that a lock within it is enough.
    """
    if not connector.capabilities.one_write_at_a_time:
        return nullcontext()
    return _turns.setdefault(connector.system, Lock())


def _written(connector: Connector, batch: Batch) -> list[WriteOutcome]:
    """What the channel answers; a zero that it takes from nobody is refused here, so that it
    neither costs a call nor spoils a batch.
    """
    writes = batch.level_writes()
    if connector.capabilities.takes_zero:
        return connector.write_levels(writes, key=batch.key)
    fit = [write for write in writes if write.quantity_milli > 0]
    refused = [
        WriteOutcome(write=write, error=_no_zero(connector.system, write))
        for write in writes
        if write.quantity_milli <= 0
    ]
    return refused + (connector.write_levels(fit, key=batch.key) if fit else [])


def _no_zero(system: str, write: LevelWrite) -> ChannelRefused:
    return ChannelRefused(
        "it takes no quantity of zero, so it may still offer what is gone",
        system=system,
        call="write_levels",
        item=write.listing.external_id,
        hint="end the listing there, or turn on what lets it stay without stock.",
    )


def answers_of(called: Called, *, system: str) -> list[Answer]:
    """What became of each write, where the channel judged them one by one."""
    alone = len(called.batch.writes) == 1
    silent = OutcomeUnknown("the answer does not mention it", system=system, call="write_levels")
    answers = []
    for write in called.batch.writes:
        outcome = called.outcomes.get(write.row.place)
        error = silent if outcome is None else outcome.error
        if error is None:
            name = "accepted" if outcome is not None and outcome.receipt is not None else "acked"
            answers.append(Answer(write=write, outcome=name, alone=True))
        else:
            answers.append(_failed(write, error, called.answered_at, sent_alone=alone))
    if answers and all(answer.outcome == "split" for answer in answers):
        # Nobody spoiled this batch: it is busy, and sending it again at once would never end.
        later = called.answered_at + FIRST_RETRY
        return [replace(answer, outcome="busy", later=later) for answer in answers]
    return answers


def _failed(
    write: PlannedWrite, error: SystemFailure, now: datetime, *, sent_alone: bool
) -> Answer:
    outcome = outcome_of(error)
    if isinstance(error, ChannelBusy) and error.retry_after_s <= 0 and not sent_alone:
        outcome = "split"
    later = None if outcome in {"stale", "split"} else now + wait_after(error, write.row)
    return Answer(write=write, outcome=outcome, error=error, alone=True, later=later)


def outcome_of(error: SystemFailure) -> str:
    """The word for it in the log of attempts."""
    match error:
        case StaleCompare():
            return "stale"
        case ChannelBusy():
            return "busy"
        case OutcomeUnknown():
            return "unknown"
        case ChannelRefused() | SourceRefused():
            return "refused"
        case _:
            return "busy"  # it was not reached


def receipts_of(called: Called) -> Receipt | None:
    """What an asynchronous channel gave for the batch: one receipt."""
    for outcome in called.outcomes.values():
        if outcome.receipt is not None and outcome.error is None:
            return outcome.receipt
    return None


def stops_others(error: SystemFailure) -> bool:
    """Whether the next batch would most likely fail as well: it is not sent then."""
    if isinstance(error, AccessRefused):
        return True
    return not is_refusal(error) and not isinstance(error, StaleCompare)


def is_refusal(error: SystemFailure) -> bool:
    """It answered, and will answer the same again."""
    return isinstance(error, (ChannelRefused, SourceRefused))


def wait_after(error: SystemFailure, row: OutboxRow) -> timedelta:
    """What the channel asks for, else exponential by the row's attempts between FIRST_RETRY and
    LAST_RETRY.
    """
    if isinstance(error, ChannelBusy) and error.retry_after_s > 0:
        return timedelta(seconds=error.retry_after_s)
    return backoff(row.attempts)


def backoff(tries: int) -> timedelta:
    """Exponential between FIRST_RETRY and LAST_RETRY; `tries` from 0."""
    return min(FIRST_RETRY * (1 << min(tries, 12)), LAST_RETRY)


Call = Callable[[Batch], Called]
