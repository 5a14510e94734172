"""Shopify's GraphQL endpoint: what a query may cost, and what its errors mean.

The price of a query is paid from a bucket that refills; every answer tells what it cost and how
full the bucket is. A call takes what it will probably cost before it is sent, waits within a bound
and says ChannelBusy beyond it, rather than being throttled; the difference is settled afterwards.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inventory_pipeline.connectors.headers import DEFAULT_PAUSE_S
from inventory_pipeline.connectors.http import (
    Caller,
    Kind,
    Purpose,
    Trouble,
    as_error,
    understood,
)
from inventory_pipeline.core.errors import ChannelBusy
from inventory_pipeline.core.limits import TokenBucket

# The smallest plan; what the shop really allows is learnt from its first answer.
COST = TokenBucket(name="cost", capacity=1000, per_second=50)
FIRST_GUESS = 100.0  # points of a document not sent before
MAX_WAITS = 5
FIRST_PAUSE_S = 0.1  # doubled each time that a call is throttled for no visible reason
MAX_PAGES = 20_000
TRANSIENT = {"SERVICE_UNAVAILABLE", "INTERNAL_SERVER_ERROR", "TIMEOUT"}
_OTHER_VERSION = "check `api_version` in the options: docs/connectors.md names the versions."
NEXT_STEPS = {
    "ACCESS_DENIED": "give the app's token the scopes read_inventory, write_inventory, "
    "read_products and read_orders.",
    "MAX_COST_EXCEEDED": "the shop allows no query of this price: lower `page_size`.",
    "BAD_REQUEST": _OTHER_VERSION,
    "INVALID_VARIABLE": _OTHER_VERSION,
    "INVALID_FIELD_ARGUMENTS": _OTHER_VERSION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an answer says of its price; `actual` is None where nothing was run."""

    requested: float
    actual: float | None
    left: float
    bucket: TokenBucket


class Graphql:
    """Runs documents against one shop. Safe to use from several threads.

    Takes from the caller's limiter, which all processes share where the hub runs.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        path: str,
        max_wait_s: float,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caller = caller
        self._limiter = caller.limiter
        self._path = path
        self._max_wait_s = max_wait_s
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._prices: dict[str, float] = {}

    def run(
        self,
        document: str,
        variables: Mapping[str, Any],
        *,
        call: str,
        purpose: Purpose,
        urgent: bool | None = None,
    ) -> Any:
        """The answer's `data`. Throttled calls are repeated as they are, within the bound.

        A page of a long reading (it has `after`) leaves a reserve to others, unless `urgent` says
        otherwise. Raises SourceError or ChannelError as `purpose` says.
        """
        body = {"query": document, "variables": dict(variables)}
        if urgent is None:
            urgent = purpose is Purpose.WRITE or "after" not in variables
        try:
            return self._run(body, purpose=purpose, urgent=urgent)
        except Trouble as trouble:
            raise as_error(trouble, purpose, system=self._caller.system, call=call) from trouble

    def _run(self, body: dict[str, Any], *, purpose: Purpose, urgent: bool) -> Any:
        send = self._caller.once if purpose is Purpose.WRITE else self._caller.read
        waited = 0.0
        for attempt in range(MAX_WAITS):
            began = self._monotonic()
            taken = self._take(body["query"], self._max_wait_s - waited, urgent=urgent)
            waited += self._monotonic() - began
            try:
                answer = send("POST", self._path, json=body).body
            except Trouble as trouble:
                if trouble.kind is not Kind.UNKNOWN:
                    self._limiter.put_back(COST, taken)
                raise
            cost = _cost(answer)
            self._settle(body["query"], taken, cost)
            if not _throttled(answer):
                return _data(answer)
            # An empty bucket is waited for by taking; for any other reason time has to pass.
            if cost is None or cost.left >= cost.requested:
                waited += self._pause(FIRST_PAUSE_S * 2**attempt, self._max_wait_s - waited)
        often = f"throttled {MAX_WAITS} times"
        raise Trouble(Kind.BUSY, often, retry_after_s=DEFAULT_PAUSE_S)

    def _take(self, document: str, patience_s: float, *, urgent: bool) -> float:
        with self._lock:
            price = self._prices.get(document, FIRST_GUESS)
        try:
            return self._limiter.take(COST, price, patience_s=max(0.0, patience_s), urgent=urgent)
        except ChannelBusy as busy:
            raise _impatient(busy.retry_after_s) from busy

    def _pause(self, seconds: float, patience_s: float) -> float:
        if seconds > patience_s:
            raise _impatient(seconds)
        self._sleep(seconds)
        return seconds

    def _settle(self, document: str, taken: float, cost: Cost | None) -> None:
        """Puts back what was taken too much, and tells everybody what the shop said."""
        if cost is None:
            self._limiter.put_back(COST, taken)  # a shop that tells no prices is simply asked
            return
        with self._lock:
            self._prices[document] = min(cost.requested, cost.bucket.capacity)
        self._limiter.told(
            cost.bucket,
            remaining=cost.left,
            put_back=taken - (cost.actual or 0.0),
        )

    def nodes(
        self,
        document: str,
        variables: Mapping[str, Any],
        *,
        at: Sequence[str],
        call: str,
        purpose: Purpose,
        after: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """All nodes of the connection found at the path `at` of the data, page by page from `after`
        on.

        Ends silently where an object on the path does not exist (any more).
        """
        for _ in range(MAX_PAGES):
            data: Any = self.run(
                document, {**variables, "after": after}, call=call, purpose=purpose
            )
            with understood(purpose, system=self._caller.system, call=call):
                for name in at:
                    data = data.get(name) if data else None
                if data is None:
                    return
                found, info = list(data["nodes"]), data["pageInfo"]
                more, after = bool(info["hasNextPage"]), info["endCursor"]
            yield from found
            if not more:
                return
        endless = Trouble(
            Kind.REFUSED,
            f"more than {MAX_PAGES} pages",
            hint="this looks endless: report it with the shop's API version.",
        )
        raise as_error(endless, purpose, system=self._caller.system, call=call)


def _impatient(pause: float) -> Trouble:
    message = f"the shop's rate limit asks for {pause:.1f} s of patience"
    return Trouble(Kind.BUSY, message, retry_after_s=pause)


def _cost(answer: Any) -> Cost | None:
    try:
        cost = answer["extensions"]["cost"]
        status = cost["throttleStatus"]
        actual = cost.get("actualQueryCost")
        return Cost(
            requested=float(cost["requestedQueryCost"]),
            actual=None if actual is None else float(actual),
            left=float(status["currentlyAvailable"]),
            bucket=TokenBucket(
                name=COST.name,
                capacity=float(status["maximumAvailable"]),
                per_second=float(status["restoreRate"]),
            ),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _throttled(answer: Any) -> bool:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return isinstance(errors, list) and any(_code(error) == "THROTTLED" for error in errors)


def _data(answer: Any) -> Any:
    if not isinstance(answer, dict):
        raise Trouble(Kind.UNKNOWN, "the answer is no GraphQL answer")
    errors = answer.get("errors")
    if errors:
        raise _trouble(errors)
    data = answer.get("data")
    if not isinstance(data, dict):
        raise Trouble(Kind.UNKNOWN, "the answer has neither data nor errors")
    return data


def _trouble(errors: Any) -> Trouble:
    """What top-level errors mean: perhaps done, or refused."""
    found = errors if isinstance(errors, list) else [errors]
    codes = [_code(error) for error in found]
    said = "; ".join(str(e.get("message", e) if isinstance(e, dict) else e) for e in found)[:500]
    if TRANSIENT.intersection(codes):
        return Trouble(Kind.UNKNOWN, said)
    hint = next((NEXT_STEPS[code] for code in codes if code in NEXT_STEPS), "")
    named = ", ".join(code for code in codes if code)
    return Trouble(Kind.REFUSED, f"{named}: {said}" if named else said, hint=hint)


def _code(error: Any) -> str:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    return str(extensions.get("code", "")) if isinstance(extensions, dict) else ""
