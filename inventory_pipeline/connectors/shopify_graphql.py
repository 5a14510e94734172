"""Shopify's GraphQL endpoint: what a query may cost, and what its errors mean.

The price of a query is paid from a bucket that refills; every answer tells how full it is. A call
waits for the bucket within a bound and says ChannelBusy beyond it, rather than being throttled.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from inventory_pipeline.connectors.http import (
    DEFAULT_PAUSE_S,
    Caller,
    Kind,
    Purpose,
    Trouble,
    as_error,
    understood,
)

FIRST_GUESS = 100.0  # points of a document not sent before
MAX_WAITS = 5
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


class Graphql:
    """Runs documents against one shop. Safe to use from several threads."""

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
        self._path = path
        self._max_wait_s = max_wait_s
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._prices: dict[str, float] = {}
        self._left: tuple[float, float, float] | None = None  # points, points per second, seen at

    def run(
        self, document: str, variables: Mapping[str, Any], *, call: str, purpose: Purpose
    ) -> Any:
        """The answer's `data`. Throttled calls are repeated as they are, within the bound.

        Raises SourceError or ChannelError as `purpose` says.
        """
        body = {"query": document, "variables": dict(variables)}
        send = self._caller.once if purpose is Purpose.WRITE else self._caller.read
        try:
            waited = self._wait_for_points(document, 0.0)
            for _ in range(MAX_WAITS):
                answer = send("POST", self._path, json=body).body
                self._remember(document, answer)
                if not _throttled(answer):
                    return _data(answer)
                waited = self._wait_for_points(document, waited, at_least=DEFAULT_PAUSE_S)
            self._give_up()
        except Trouble as trouble:
            raise as_error(trouble, purpose, system=self._caller.system, call=call) from trouble

    def _give_up(self) -> NoReturn:
        raise Trouble(Kind.BUSY, f"throttled {MAX_WAITS} times", retry_after_s=DEFAULT_PAUSE_S)

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

    def _wait_for_points(self, document: str, waited: float, *, at_least: float = 0.0) -> float:
        """Sleeps until the bucket can pay; returns all that was waited. Raises Trouble beyond the
        bound.
        """
        pause = max(at_least, self._missing_s(document))
        if pause <= 0:
            return waited
        if waited + pause > self._max_wait_s:
            raise Trouble(
                Kind.BUSY,
                f"the shop's rate limit asks for {pause:.1f} s of patience",
                retry_after_s=pause,
            )
        self._sleep(pause)
        return waited + pause

    def _missing_s(self, document: str) -> float:
        with self._lock:
            if self._left is None:
                return 0.0
            points, per_second, seen_at = self._left
            points += per_second * (self._monotonic() - seen_at)
            missing = self._prices.get(document, FIRST_GUESS) - points
        return missing / per_second if missing > 0 and per_second > 0 else 0.0

    def _remember(self, document: str, answer: Any) -> None:
        try:
            cost = answer["extensions"]["cost"]
            price = float(cost["requestedQueryCost"])
            left = float(cost["throttleStatus"]["currentlyAvailable"])
            per_second = float(cost["throttleStatus"]["restoreRate"])
            most = float(cost["throttleStatus"]["maximumAvailable"])
        except (KeyError, TypeError, ValueError):
            return  # a shop that tells no prices is simply asked
        with self._lock:
            self._prices[document] = min(price, most)
            self._left = (left, per_second, self._monotonic())


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
