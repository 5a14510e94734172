"""What the headers of an answer say about time and limits. Names of headers are lower case."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime

from inventory_pipeline.core.limits import LONGEST_PAUSE_S, Limit, TokenBucket, Window

DEFAULT_PAUSE_S = 1.0  # before the next attempt, where the other side names no time

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A limit's numbers as an answer tells them; None where it does not."""

    limit: Limit
    remaining: float | None = None
    resets_in_s: float | None = None


# What the headers say about the limit that the call took from; None: nothing.
Hearing = Callable[[Headers, Limit], Said | None]


def rate_header(name: str) -> Hearing:
    """For a system that tells a bucket's units per second (`x-amzn-ratelimit-limit`)."""

    def hear(headers: Headers, limit: Limit) -> Said | None:
        rate = number(headers.get(name))
        if not rate or not isinstance(limit, TokenBucket):
            return None
        return Said(limit=replace(limit, per_second=rate))

    return hear


def window_headers(
    *, left: str, resets_in_ms: str, units: str = "", window_ms: str = ""
) -> Hearing:
    """For a system that tells what is left of a window, and when the next one begins
    (`x-rate-limit-requests-left`, `x-rate-limit-time-reset-ms`); with its size, where it tells
    that.
    """

    def hear(headers: Headers, limit: Limit) -> Said | None:
        if not isinstance(limit, Window):
            return None
        most, lasts = number(headers.get(units)), number(headers.get(window_ms))
        told = replace(
            limit, units=most or limit.units, seconds=lasts / 1000 if lasts else limit.seconds
        )
        resets = number(headers.get(resets_in_ms))
        remaining = number(headers.get(left))
        if remaining is None and told == limit:
            return None
        return Said(
            limit=told,
            remaining=remaining,
            resets_in_s=None if resets is None else resets / 1000,
        )

    return hear


def retry_after_s(headers: Headers, *, now: float) -> float:
    """Seconds of a Retry-After header, given as seconds or as a date; bounded, 1 where absent or
    odd.

    A date is compared with the answer's own Date where it has one: their clock may not be ours.
    """
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        when = moment(text)
        if when is None:
            return DEFAULT_PAUSE_S
        answered = moment(headers.get("date", ""))
        seconds = when - (now if answered is None else answered)
    if not seconds >= 0:  # also not-a-number
        return 0.0
    return min(seconds, LONGEST_PAUSE_S)


def clock_skew_s(headers: Headers, *, asked: float, answered: float) -> float | None:
    """How far the other side's clock is ahead of ours, by its Date header; None where it tells
    none, or where a cache may have kept the answer.

    asked, answered: our own seconds since the epoch. Within them, and within the second that a
    Date names, nothing is known: that counts as no difference.
    """
    theirs = None if "age" in headers else moment(headers.get("date", ""))
    if theirs is None:
        return None
    if theirs > answered:
        return theirs - answered
    return min(0.0, theirs + 1 - asked)


def moment(text: str) -> float | None:
    """An HTTP date as seconds since the epoch."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def number(text: str | None) -> float | None:
    """A number that is not below 0; None for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
