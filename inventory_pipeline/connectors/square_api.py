"""Calls to Square: one version pinned, errors understood, also those inside an answer of 200.

Square tells no numbers for its limits, only 429; the pause then holds for all processes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.http import (
    Answer,
    Caller,
    Kind,
    Purpose,
    Trouble,
    as_error,
    excerpt,
    understood,
)
from inventory_pipeline.core.limits import Limiter

URL = "https://connect.squareup.com"
VERSION = "2026-09-16"
MAX_PAGES = 10_000
# The header Date has whole seconds: less than this tells nothing of our clock.
NOTICEABLE = timedelta(seconds=2)
HINTS: Mapping[str, str] = {
    "ACCESS_TOKEN_EXPIRED": "the token has ended: authorize again and put the new one in place.",
    "ACCESS_TOKEN_REVOKED": "the merchant withdrew the authorization: authorize again.",
    "INSUFFICIENT_SCOPES": "authorize with INVENTORY_READ, INVENTORY_WRITE and ITEMS_READ.",
    "INVALID_SQUARE_VERSION_FORMAT": "correct `api_version` in hub.yaml.",
    "API_VERSION_INCOMPATIBLE": "correct `api_version` in hub.yaml.",
    "INVALID_TIME": "this machine's clock and Square's differ: synchronize it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One entry of Square's error list."""

    category: str
    code: str
    detail: str
    field: str


class Refusal(Trouble):
    """An answer that holds errors."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        status: int,
        complaints: tuple[Complaint, ...],
        hint: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(kind, message, hint=hint, retry_after_s=retry_after_s, status=status)
        self.complaints = complaints

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(one.code for one in self.complaints)


class SquareApi:
    """The API of one merchant."""

    def __init__(
        self,
        *,
        system: str,
        url: str,
        token: Secret,
        version: str,
        limiter: Limiter | None,
        timeout_s: float,
        max_wait_s: float,
        clock: Callable[[], datetime],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.system = system
        self._clock = clock
        self._ahead = timedelta(0)
        self._caller = Caller(
            system=system,
            base_url=url,
            timeout_s=timeout_s,
            headers={"Authorization": f"Bearer {token.reveal()}", "Square-Version": version},
            transport=transport,
            limiter=limiter,
            patience_s=max_wait_s,
        )

    def close(self) -> None:
        self._caller.close()

    def now(self) -> datetime:
        """The time, and never later than Square's own clock as last heard."""
        return self._clock() - self._ahead

    def ask(
        self, method: str, path: str, *, purpose: Purpose, call: str, **request: Any
    ) -> dict[str, Any]:
        """The answer. Raises SourceError or ChannelError as `purpose` says."""
        try:
            return self.call(method, path, again=purpose is not Purpose.WRITE, **request)
        except Trouble as trouble:
            raise as_error(trouble, purpose, system=self.system, call=call) from trouble

    def call(self, method: str, path: str, *, again: bool, **request: Any) -> dict[str, Any]:
        """The answer's JSON. Raises Trouble; Refusal where it holds errors.

        `again`: it changes nothing, so it is repeated by itself.
        """
        send = self._caller.read if again else self._caller.once
        try:
            answer = send(method, path, **request)
        except Trouble as trouble:
            raise _in_its_words(trouble) from trouble
        self._compare_clocks(answer)
        body = answer.body
        if not isinstance(body, dict):
            raise Trouble(Kind.UNKNOWN, "the answer is no JSON object")
        if body.get("errors"):
            raise _refusal(200, _complaints(body), "", None)
        return body

    def entries(
        self,
        method: str,
        path: str,
        *,
        purpose: Purpose,
        call: str,
        query: Mapping[str, Any],
        items: str,
    ) -> Iterator[dict[str, Any]]:
        """All entries of a paged list."""
        for page, _ in self.pages(
            method, path, purpose=purpose, call=call, query=query, items=items
        ):
            yield from page

    def pages(
        self,
        method: str,
        path: str,
        *,
        purpose: Purpose,
        call: str,
        query: Mapping[str, Any],
        items: str,
        cursor: str | None = None,
    ) -> Iterator[tuple[list[dict[str, Any]], str | None]]:
        """A paged list, from `cursor` on: each page's entries and the cursor of the next one. The
        query goes with every page, as Square wants it.
        """
        place = "json" if method == "POST" else "params"
        for _ in range(MAX_PAGES):
            wanted = {**query, **({"cursor": cursor} if cursor else {})}
            body = self.ask(method, path, purpose=purpose, call=call, **{place: wanted})
            with understood(purpose, system=self.system, call=call):
                found = list(body.get(items) or [])
                cursor = body.get("cursor") or None
            yield found, cursor
            if not cursor:
                return
        endless = Trouble(Kind.REFUSED, f"more than {MAX_PAGES} pages", hint="report it.")
        raise as_error(endless, purpose, system=self.system, call=call)

    def _compare_clocks(self, answer: Answer) -> None:
        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", ""))
        except (ValueError, TypeError):
            return
        if theirs.tzinfo is None:
            return
        ahead = self._clock() - theirs
        self._ahead = ahead if ahead > NOTICEABLE else timedelta(0)


def _in_its_words(trouble: Trouble) -> Trouble:
    """A Refusal where the answer holds Square's own error list, else the trouble as it is."""
    try:
        complaints = _complaints(json.loads(trouble.content)) if trouble.content else ()
    except (ValueError, RecursionError):
        complaints = ()
    if not complaints:
        return trouble
    return _refusal(trouble.status, complaints, trouble.hint, trouble.retry_after_s)


def _refusal(
    status: int, complaints: tuple[Complaint, ...], hint: str, retry_after_s: float | None
) -> Refusal:
    codes = {one.code for one in complaints}
    said = "; ".join(
        f"{one.code}: {one.detail}" + (f" ({one.field})" if one.field else "") for one in complaints
    )
    if status == 429 or "RATE_LIMITED" in codes:
        kind, retry_after_s = Kind.BUSY, retry_after_s or 1.0
    elif status == 409 and "IDEMPOTENCY_KEY_REUSED" not in codes:
        kind, retry_after_s = Kind.BUSY, 1.0  # another change of the same thing: as sent, again
    elif status in {408, 499} or status >= 500 or _is_theirs(complaints):
        kind = Kind.UNKNOWN
    else:
        kind = Kind.REFUSED
    own = next((HINTS[one.code] for one in complaints if one.code in HINTS), hint)
    return Refusal(
        kind,
        excerpt(f"{status} {said}".encode()),
        status=status,
        complaints=complaints,
        hint=own if kind is Kind.REFUSED else "",
        retry_after_s=retry_after_s,
    )


def _is_theirs(complaints: tuple[Complaint, ...]) -> bool:
    return any(one.category == "API_ERROR" for one in complaints)


def _complaints(body: Any) -> tuple[Complaint, ...]:
    errors = body.get("errors") if isinstance(body, dict) else None
    return tuple(
        Complaint(
            category=str(one.get("category") or ""),
            code=str(one.get("code") or ""),
            detail=str(one.get("detail") or ""),
            field=str(one.get("field") or ""),
        )
        for one in errors or []
        if isinstance(one, dict)
    )
