"""What is done about a variance, by its cause (SEMANTICS §9); `heal` of a channel overrides it."""

from collections.abc import Mapping
from enum import StrEnum

from inventory_pipeline.core.vocabulary import Cause


class Heal(StrEnum):
    """What is done; `rebaseline` only by a person."""

    NONE = "none"
    REREAD = "reread"
    REPUSH = "repush"
    INGEST = "ingest"
    ALERT = "alert"
    REPUSH_AND_ALERT = "repush_and_alert"
    REBASELINE = "rebaseline"
    WAIT = "wait"  # not possible yet: tried again after the next comparison


# `ledger` and `systems`: nothing there can be sent again.
_BY_CAUSE = {
    Cause.IN_FLIGHT: (Heal.REREAD, Heal.REREAD),
    Cause.NOT_YET_APPLIED: (Heal.REREAD, Heal.REREAD),
    Cause.PUSH_FAILED: (Heal.REPUSH, Heal.ALERT),
    Cause.UNMAPPED: (Heal.ALERT, Heal.ALERT),
    Cause.NOT_LISTED: (Heal.ALERT, Heal.ALERT),
    Cause.ORDER_NOT_INGESTED: (Heal.INGEST, Heal.ALERT),
    Cause.LOST_UPDATE: (Heal.REPUSH, Heal.ALERT),
    Cause.DUPLICATE_EFFECT: (Heal.REPUSH, Heal.ALERT),
    Cause.LATE_EVENT: (Heal.NONE, Heal.NONE),
    Cause.ROUNDING: (Heal.NONE, Heal.NONE),
    Cause.STALE_SOURCE: (Heal.REREAD, Heal.REREAD),
    Cause.EXTERNAL_EDIT: (Heal.REPUSH_AND_ALERT, Heal.ALERT),
    Cause.UNEXPLAINED: (Heal.REPUSH, Heal.ALERT),
}
MOST_TRIES = 3
SENDS = frozenset({Heal.REPUSH, Heal.REPUSH_AND_ALERT})
TELLS = frozenset({Heal.ALERT, Heal.REPUSH_AND_ALERT})


def policy(cause: Cause, comparison: str, overrides: Mapping[str, str] | None = None) -> Heal:
    """What hub.yaml or the table says about this cause (comparison: channel | ledger | systems)."""
    if overrides and cause in overrides:
        return Heal(overrides[cause])
    return _BY_CAUSE[cause][0 if comparison == "channel" else 1]


def decide(
    cause: Cause,
    comparison: str,
    *,
    tries: int,
    overrides: Mapping[str, str] | None = None,
    possible: bool = True,
) -> Heal:
    """What is done now about a variance for which something was sent or ingested `tries` times.

    One that nothing explains is repushed once, others a few times; then a person is told. Where a
    repush is not `possible` (dead, held, the breaker is open) it waits.
    """
    heal = policy(cause, comparison, overrides)
    if heal not in SENDS and heal is not Heal.INGEST:
        return heal
    most = 1 if cause is Cause.UNEXPLAINED else MOST_TRIES
    if tries >= most:
        return Heal.ALERT
    return heal if possible or heal is Heal.INGEST else Heal.WAIT
