"""HTTP as connectors need it: every trouble becomes the error that says what to do next.

                        what is known           reading a source   reading levels   writing
Kind.BUSY               nothing happened there  SourceUnreachable  ChannelBusy      ChannelBusy
Kind.UNKNOWN            perhaps it happened     SourceUnreachable  ChannelBusy      OutcomeUnknown
Kind.REFUSED            it will not happen      SourceRefused      ChannelRefused   ChannelRefused
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpx
import stamina
import structlog
from stamina.instrumentation import set_on_retry_hooks

from inventory_pipeline.connectors.headers import (
    DEFAULT_PAUSE_S,
    Hearing,
    clock_skew_s,
    retry_after_s,
)
from inventory_pipeline.connectors.limiter import InProcessLimiter
from inventory_pipeline.connectors.tracing import traced
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelRefused,
    HubError,
    OutcomeUnknown,
    SourceRefused,
    SourceUnreachable,
    SystemFailure,
)
from inventory_pipeline.core.limits import Limit, Limiter, Pauses, TokenBucket

# Who asks says once what fails; a line for every attempt would only repeat it.
set_on_retry_hooks([])

READ_ATTEMPTS = 3
MAX_ANSWER_BYTES = 64 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
PATIENT_S = 2.0  # a read waits at most this long by itself for an announced pause
LIMIT_PATIENCE_S = 10.0  # a call waits at most this long for its system's limit
SKEW_S = 60.0
EXCERPT = 200
TOO_MANY = frozenset({429, 430})
UNNAMED = Pauses()
# What reading a shape that nobody expected raises; a number that is none is an ArithmeticError.
UNEXPECTED = (KeyError, TypeError, ValueError, AttributeError, StopIteration, ArithmeticError)
NOT_KNOWN = (
    "the credentials are wrong, revoked or expired: renew them in the environment variable that "
    "hub.yaml names."
)
NOT_ALLOWED = (
    "the credentials are known there and may not do this: give them the rights that "
    "docs/connectors.md names."
)
OTHER_REFUSALS = "it will not work as sent: compare hub.yaml with docs/connectors.md."

log = structlog.get_logger("connectors")


class Purpose(StrEnum):
    """What a call is for: decides which error its trouble becomes."""

    SOURCE = "source"
    LEVELS = "levels"
    WRITE = "write"


class Kind(StrEnum):
    """What a trouble leaves known."""

    BUSY = "busy"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class Trouble(Exception):
    """A call without a usable answer, before it is known what the call was for.

    `status` and `content` are the answer's, where one came: 0 and nothing otherwise.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        hint: str = "",
        retry_after_s: float | None = None,
        status: int = 0,
        content: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.status = status
        self.content = content


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful answer: parsed JSON (numbers exact; None for a 204) and headers with lower-case
    names.
    """

    body: Any
    headers: Mapping[str, str]


def as_error(trouble: Trouble, purpose: Purpose, *, system: str, call: str) -> SystemFailure:
    """The error for a trouble of a call with this purpose."""
    if trouble.kind is Kind.REFUSED:
        refused = SourceRefused if purpose is Purpose.SOURCE else ChannelRefused
        hint = trouble.hint or OTHER_REFUSALS
        return refused(trouble.message, system=system, call=call, hint=hint)
    if purpose is Purpose.SOURCE:
        hint = trouble.hint or "nothing is lost: it is asked again at the next poll."
        return SourceUnreachable(trouble.message, system=system, call=call, hint=hint)
    if purpose is Purpose.WRITE and trouble.kind is Kind.UNKNOWN:
        hint = trouble.hint or "the quantity is read before anything is written again."
        return OutcomeUnknown(trouble.message, system=system, call=call, hint=hint)
    return ChannelBusy(
        trouble.message,
        system=system,
        call=call,
        retry_after_s=DEFAULT_PAUSE_S if trouble.retry_after_s is None else trouble.retry_after_s,
        hint=trouble.hint or "nothing was changed; it is sent again later.",
    )


@contextmanager
def understood(purpose: Purpose, *, system: str, call: str) -> Iterator[None]:
    """Around the reading of an answer: a shape that nobody expected is an error of the system, not
    of ours.

    After a write nobody knows then what became of it; a reading would go wrong in the same way
    again.
    """
    try:
        yield
    except UNEXPECTED as error:
        trouble = Trouble(
            Kind.UNKNOWN if purpose is Purpose.WRITE else Kind.REFUSED,
            f"the answer is not as expected: {type(error).__name__} {error}",
            hint="check the API version and the address in hub.yaml.",
        )
        raise as_error(trouble, purpose, system=system, call=call) from error


class Caller:
    """Calls one system's HTTP API. Safe to use from several threads.

    A call takes `cost` from the limit that it names, or waits for the system's pauses only; every
    process of the hub keeps the pause that a 429 or 503 asks for. `limiter` is the opening's,
    `hears` what the system's headers tell of its limits. `wall` gives seconds since the epoch: a
    date that the other side names is compared with it.
    """

    def __init__(
        self,
        *,
        system: str,
        base_url: str,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        wall: Callable[[], float] = time.time,
        limiter: Limiter | None = None,
        hears: Hearing | None = None,
        patience_s: float = LIMIT_PATIENCE_S,
    ) -> None:
        self.system = system
        self.limiter = limiter or InProcessLimiter(system)
        self._hears = hears
        self._patience_s = patience_s
        self._host = checked_host(base_url, system)
        self._timeout_s = timeout_s
        self._wall = wall
        self._skewed = False
        self._client = httpx.Client(
            base_url=base_url.rstrip("/"),
            headers={"Accept": "application/json", **(headers or {})},
            auth=auth,
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            transport=traced(transport),
            # A proxy of the environment is for the outside, not for a server on this machine.
            trust_env=self._host not in {"127.0.0.1", "localhost", "::1"},
        )

    def close(self) -> None:
        self._client.close()

    def read(
        self,
        method: str,
        path: str,
        *,
        limit: Limit = UNNAMED,
        cost: float = 1,
        urgent: bool = True,
        **request: Any,
    ) -> Answer:
        """A call that changes nothing, repeated a few times. Raises Trouble."""
        for attempt in stamina.retry_context(
            on=_worth_repeating,
            attempts=READ_ATTEMPTS,
            timeout=self._timeout_s,
            wait_initial=0.1,
            wait_max=1.0,
        ):
            with attempt:
                return self.once(method, path, limit=limit, cost=cost, urgent=urgent, **request)
        raise AssertionError("unreachable")

    def once(
        self,
        method: str,
        path: str,
        *,
        limit: Limit = UNNAMED,
        cost: float = 1,
        urgent: bool = True,
        **request: Any,
    ) -> Answer:
        """One call, once, after its limit allows it. Raises Trouble."""
        taken = self._take(limit, cost, urgent=urgent)
        try:
            status, headers, content = self._exchange(method, path, **request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            self.limiter.put_back(limit, taken)
            raise Trouble(
                Kind.BUSY,
                f"{self._host} cannot be reached ({_what(error)})",
                hint="check that it runs and that the address in hub.yaml is right; "
                "the hub goes on asking by itself.",
            ) from error
        except httpx.TimeoutException as error:
            raise Trouble(
                Kind.UNKNOWN, f"{self._host} did not answer within {self._timeout_s:g} s"
            ) from error
        except httpx.TransportError as error:
            raise Trouble(
                Kind.UNKNOWN, f"the connection to {self._host} broke off ({_what(error)})"
            ) from error
        except httpx.HTTPError as error:
            raise Trouble(
                Kind.UNKNOWN, f"{self._host} gave an unreadable answer ({_what(error)})"
            ) from error
        self._hear(limit, status, headers)
        return self._judged(status, headers, content)

    def _take(self, limit: Limit, cost: float, *, urgent: bool) -> float:
        try:
            return self.limiter.take(limit, cost, patience_s=self._patience_s, urgent=urgent)
        except ChannelBusy as busy:
            message = f"the rate limit {limit.name} asks for {busy.retry_after_s:.1f} s of patience"
            raise Trouble(Kind.BUSY, message, retry_after_s=busy.retry_after_s) from busy

    def _hear(self, limit: Limit, status: int, headers: Mapping[str, str]) -> None:
        """What an answer tells about limits, for all processes."""
        said = self._hears(headers, limit) if self._hears else None
        if said is not None:
            self.limiter.told(said.limit, remaining=said.remaining, resets_in_s=said.resets_in_s)
        if status in TOO_MANY or (status >= 500 and "retry-after" in headers):
            if isinstance(limit, TokenBucket) and "retry-after" not in headers:
                self.limiter.told(limit, remaining=0)
            else:
                self.limiter.pause(limit, retry_after_s(headers, now=self._wall()))

    def _exchange(
        self, method: str, path: str, **request: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Reads the whole answer within the timeout: a trickle of bytes counts as no answer."""
        deadline = time.monotonic() + self._timeout_s
        asked = self._wall()
        with self._client.stream(method, path, **request) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise httpx.DecodingError(f"more than {MAX_ANSWER_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer came too slowly")
            answered = self._wall()
        headers = {name.lower(): value for name, value in response.headers.items()}
        self._compare_clocks(headers, asked=asked, answered=answered)
        return response.status_code, headers, bytes(content)

    def _compare_clocks(self, headers: Mapping[str, str], *, asked: float, answered: float) -> None:
        """Says once that the clocks differ, and once that they agree again."""
        skew = clock_skew_s(headers, asked=asked, answered=answered)
        if skew is None or (abs(skew) > SKEW_S) is self._skewed:
            return
        self._skewed = not self._skewed
        if self._skewed:
            log.warning(
                "clocks differ",
                system=self.system,
                host=self._host,
                ahead_s=round(skew),
                hint="set the clock of this machine by a time server, or tell who runs the other: "
                "events are dated by the one and snapshots by the other.",
            )
        else:
            log.info("clocks agree again", system=self.system, host=self._host)

    def _judged(self, status: int, headers: Mapping[str, str], content: bytes) -> Answer:
        if status < 200 or status >= 300:
            raise self._refusal(status, headers, content)
        if status == 204:
            return Answer(body=None, headers=headers)
        try:
            body = json.loads(content, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise Trouble(
                Kind.UNKNOWN,
                f"{self._host} answered {status} with {_kind(content)}: {excerpt(content)!r}",
                hint="check the address in hub.yaml; a login or maintenance page looks like this.",
                status=status,
                content=content,
            ) from error
        return Answer(body=body, headers=headers)

    def _refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> Trouble:
        kind, pause, hint = Kind.REFUSED, None, OTHER_REFUSALS
        said = f"{self._host} answered {status}: {excerpt(content)!r}"
        if status in TOO_MANY:
            kind, hint = Kind.BUSY, ""
            pause = retry_after_s(headers, now=self._wall())
        elif status == 408 or status >= 500:
            kind, hint = Kind.UNKNOWN, ""
            if "retry-after" in headers:
                pause = retry_after_s(headers, now=self._wall())
        elif 300 <= status < 400:
            said = f"{self._host} redirects ({status}) to {headers.get('location', '?')[:EXCERPT]}"
            hint = "put the final address into hub.yaml."
        elif status in {401, 403}:
            hint = NOT_KNOWN if status == 401 else NOT_ALLOWED
        return Trouble(kind, said, hint=hint, retry_after_s=pause, status=status, content=content)


def checked_host(url: str, system: str) -> str:
    """The host of an http(s) address. Raises HubError for anything else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in {"http", "https"} else None
        _ = parts.port
    except ValueError:
        host = None
    if not host:
        raise HubError(
            f"hub.yaml: systems.{system}.options: {url!r} is no http or https address",
            hint="write it like https://shop.example.com.",
        )
    return host


def excerpt(content: bytes) -> str:
    """The beginning of an answer on one line, for an error message."""
    return " ".join(content[: EXCERPT * 4].decode("utf-8", "replace").split())[:EXCERPT]


def utc_time(text: object) -> str:
    """A time of another system as ISO 8601 in UTC, so that one moment has one spelling.

    A time without an offset is taken as UTC. What is no time is given back as it is: the check of
    the event will say so.
    """
    try:
        when = datetime.fromisoformat(str(text))
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return str(text)
    return when.isoformat().replace("+00:00", "Z")


def _worth_repeating(error: Exception) -> bool | float:
    """Whether a read is repeated, or after how many seconds."""
    if not isinstance(error, Trouble) or error.kind is Kind.REFUSED:
        return False
    if error.retry_after_s is None:
        return True
    return error.retry_after_s if 0 < error.retry_after_s <= PATIENT_S else error.retry_after_s == 0


def _what(error: Exception) -> str:
    return str(error) or type(error).__name__


def _kind(content: bytes) -> str:
    """What an answer is that is no JSON."""
    match content.lstrip()[:1]:
        case b"":
            return "nothing"
        case b"<":
            return "HTML"
        case b"{" | b"[":
            return "something that is not JSON to its end"
    return "something that is not JSON"
