"""Calls to the Selling Partner API: with a token, within each operation's rate, errors understood.

Every operation has a bucket of its own (rate and burst of the account and application). Amazon may
tell another rate with an answer; from then on that one counts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.amazon_lwa import LwaTokens
from inventory_pipeline.connectors.headers import rate_header
from inventory_pipeline.connectors.http import (
    Answer,
    Caller,
    Kind,
    Purpose,
    Trouble,
    as_error,
    excerpt,
)
from inventory_pipeline.core.limits import Limiter, TokenBucket

RATE_HEADER = "x-amzn-ratelimit-limit"
ENDPOINTS: Mapping[str, str] = {
    "na": "https://sellingpartnerapi-na.amazon.com",
    "eu": "https://sellingpartnerapi-eu.amazon.com",
    "fe": "https://sellingpartnerapi-fe.amazon.com",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the API; `rate` a second and `burst` as its usage plan says."""

    name: str
    method: str
    rate: float
    burst: float
    changes: bool = False  # repeated by itself only where it changes nothing


GET_LISTING = Operation(name="getListingsItem", method="GET", rate=5, burst=10)
SEARCH_LISTINGS = Operation(name="searchListingsItems", method="GET", rate=5, burst=5)
PATCH_LISTING = Operation(name="patchListingsItem", method="PATCH", rate=5, burst=5, changes=True)
CREATE_FEED = Operation(name="createFeed", method="POST", rate=0.0083, burst=15, changes=True)
CREATE_FEED_DOCUMENT = Operation(name="createFeedDocument", method="POST", rate=0.5, burst=15)
GET_FEED = Operation(name="getFeed", method="GET", rate=2, burst=15)
GET_FEED_DOCUMENT = Operation(name="getFeedDocument", method="GET", rate=0.0222, burst=10)
INVENTORY_SUMMARIES = Operation(name="getInventorySummaries", method="GET", rate=2, burst=2)
SEARCH_ORDERS = Operation(name="searchOrders", method="GET", rate=0.0056, burst=20)
GET_ORDER = Operation(name="getOrder", method="GET", rate=0.5, burst=30)


class SellingPartner:
    """The API of one seller in one region. A call waits up to `max_wait_s` for its rate."""

    def __init__(
        self,
        *,
        system: str,
        url: str,
        tokens: LwaTokens,
        limiter: Limiter | None,
        timeout_s: float,
        max_wait_s: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.system = system
        self._caller = Caller(
            system=system,
            base_url=url,
            timeout_s=timeout_s,
            transport=transport,
            limiter=limiter,
            hears=rate_header(RATE_HEADER),
            patience_s=max_wait_s,
        )
        self._tokens = tokens

    def close(self) -> None:
        self._caller.close()
        self._tokens.close()

    def ask(
        self,
        operation: Operation,
        path: str,
        *,
        purpose: Purpose,
        urgent: bool = True,
        **request: Any,
    ) -> Any:
        """The answer's JSON. Raises SourceError or ChannelError as `purpose` says."""
        try:
            return self.call(operation, path, urgent=urgent, **request)
        except Trouble as trouble:
            raise as_error(trouble, purpose, system=self.system, call=operation.name) from trouble

    def call(self, operation: Operation, path: str, *, urgent: bool = True, **request: Any) -> Any:
        """The answer's JSON, an object. Raises Trouble, with Amazon's own words and its status."""
        token = self._tokens.token()
        try:
            answer = self._exchange(operation, path, token, urgent=urgent, **request)
        except Trouble as trouble:
            if not _token_refused(trouble):
                raise _in_its_words(trouble) from trouble
            # Refused at the door, so nothing happened: once more with a new token.
            self._tokens.reject(token)
            token = self._tokens.token()
            try:
                answer = self._exchange(operation, path, token, urgent=urgent, **request)
            except Trouble as again:
                raise _in_its_words(again) from again
        if not isinstance(answer.body, dict):
            raise Trouble(Kind.UNKNOWN, "the answer is no JSON object")
        return answer.body

    def _exchange(
        self, operation: Operation, path: str, token: Secret, *, urgent: bool, **request: Any
    ) -> Answer:
        send = self._caller.once if operation.changes else self._caller.read
        bucket = TokenBucket(
            name=operation.name, capacity=operation.burst, per_second=operation.rate
        )
        headers = {"x-amz-access-token": token.reveal()}
        return send(operation.method, path, limit=bucket, urgent=urgent, headers=headers, **request)


def _in_its_words(trouble: Trouble) -> Trouble:
    """The trouble with the text of Amazon's error list, where it has one."""
    said = "; ".join(
        f"{error.get('code', '')}: {error.get('message', '')} {error.get('details') or ''}".strip()
        for error in _errors(trouble)
    )
    hint = trouble.hint
    if trouble.status in {401, 403}:
        hint = (
            "check the credentials in the environment, and that the application has the role that "
            "this call needs and is authorized by this seller."
        )
    elif trouble.status == 404:
        hint = "check the seller id, the marketplace and the sku."
    return Trouble(
        trouble.kind,
        f"{trouble.status} {excerpt(said.encode())}" if said else trouble.message,
        hint=hint,
        retry_after_s=trouble.retry_after_s,
        status=trouble.status,
        content=trouble.content,
    )


def _token_refused(trouble: Trouble) -> bool:
    """Whether a new access token may help: it ended meanwhile, or was withdrawn."""
    return trouble.status in {401, 403} and any(
        error.get("code") == "Unauthorized" or "expired" in str(error.get("details")).lower()
        for error in _errors(trouble)
    )


def _errors(trouble: Trouble) -> list[Mapping[str, Any]]:
    """Amazon's error list; empty where the answer has none."""
    try:
        errors = json.loads(trouble.content)["errors"]
        return [error for error in errors if isinstance(error, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
