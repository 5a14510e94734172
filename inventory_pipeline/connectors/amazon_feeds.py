"""JSON listings feeds: a document is uploaded, queued, worked through, and reports on each message.

Only the last step, createFeed, changes anything: what fails before it is known not to have
happened.
"""

import gzip
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from inventory_pipeline.connectors.amazon_api import (
    CREATE_FEED,
    CREATE_FEED_DOCUMENT,
    GET_FEED,
    GET_FEED_DOCUMENT,
    SellingPartner,
)
from inventory_pipeline.connectors.http import Kind, Purpose, Trouble, as_error, understood
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelError,
    ChannelRefused,
    OutcomeUnknown,
)

PATH = "/feeds/2021-06-30"
FEED_TYPE = "JSON_LISTINGS_FEED"
CONTENT_TYPE = "application/json; charset=UTF-8"
MAX_MESSAGES = 25_000
MAX_REPORT_BYTES = 64 * 1024 * 1024
LATER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReport:
    """What became of a feed: errors of single messages, or of the whole."""

    messages: Mapping[int, ChannelError]
    whole: ChannelError | None = None

    def of(self, number: int) -> ChannelError | None:
        """The error of one message; None: it was accepted."""
        return self.whole or self.messages.get(number)


class ListingsFeeds:
    """Feeds of one seller in one marketplace."""

    def __init__(
        self,
        api: SellingPartner,
        *,
        seller_id: str,
        marketplace_id: str,
        timeout_s: float,
        trust_env: bool,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._api = api
        self._seller_id = seller_id
        self._marketplace_id = marketplace_id
        # Documents lie elsewhere, behind addresses that are signed and take no token.
        self._documents = httpx.Client(timeout=timeout_s, transport=transport, trust_env=trust_env)

    def close(self) -> None:
        self._documents.close()

    def submit(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Queues the messages; the feed's id. Raises ChannelError."""
        document = {
            "header": {"sellerId": self._seller_id, "version": "2.0"},
            "messages": list(messages),
        }
        content = json.dumps(document, separators=(",", ":")).encode()
        document_id = self._upload(content)
        body = self._api.ask(
            CREATE_FEED,
            f"{PATH}/feeds",
            purpose=Purpose.WRITE,
            json={
                "feedType": FEED_TYPE,
                "marketplaceIds": [self._marketplace_id],
                "inputFeedDocumentId": document_id,
            },
        )
        with understood(Purpose.WRITE, system=self._api.system, call=CREATE_FEED.name):
            return str(body["feedId"])

    def report(self, feed_id: str) -> FeedReport | None:
        """What became of a feed; None while it waits or works. Raises ChannelError."""
        body = self._api.ask(GET_FEED, f"{PATH}/feeds/{feed_id}", purpose=Purpose.LEVELS)
        with understood(Purpose.LEVELS, system=self._api.system, call=GET_FEED.name):
            status = str(body["processingStatus"])
            document_id = body.get("resultFeedDocumentId")
        if status in {"IN_QUEUE", "IN_PROGRESS"}:
            return None
        if status == "CANCELLED":
            return FeedReport(messages={}, whole=self._cancelled(feed_id))
        if status != "DONE" or not document_id:
            said = "" if not document_id else f" ({self._summary(str(document_id))})"
            return FeedReport(messages={}, whole=self._unknown(f"it ended {status}{said}", feed_id))
        return self._read(feed_id, self._result(str(document_id)))

    def _upload(self, content: bytes) -> str:
        # Nothing is changed by a document, so trouble with one is as if nothing had been asked.
        body = self._api.ask(
            CREATE_FEED_DOCUMENT,
            f"{PATH}/documents",
            purpose=Purpose.LEVELS,
            json={"contentType": CONTENT_TYPE},
        )
        with understood(Purpose.LEVELS, system=self._api.system, call=CREATE_FEED_DOCUMENT.name):
            document_id, url = str(body["feedDocumentId"]), str(body["url"])
        try:
            answer = self._documents.put(
                url, content=content, headers={"Content-Type": CONTENT_TYPE}
            )
        except httpx.HTTPError as error:
            raise self._busy(f"the upload broke off ({type(error).__name__})") from error
        if not answer.is_success:
            raise self._busy(f"the upload was answered {answer.status_code}")
        return document_id

    def _result(self, document_id: str) -> dict[str, Any]:
        """A processing report, unpacked. Raises ChannelBusy: it can be asked for again."""
        body = self._api.ask(
            GET_FEED_DOCUMENT, f"{PATH}/documents/{document_id}", purpose=Purpose.LEVELS
        )
        with understood(Purpose.LEVELS, system=self._api.system, call=GET_FEED_DOCUMENT.name):
            url, packed = str(body["url"]), body.get("compressionAlgorithm") == "GZIP"
        try:
            answer = self._documents.get(url)
            if not answer.is_success:
                raise self._busy(f"its processing report was answered {answer.status_code}")
            content = _unpacked(answer.content) if packed else answer.content
            report = json.loads(content)
        except httpx.HTTPError as error:
            raise self._busy(f"its processing report broke off ({type(error).__name__})") from error
        except (ValueError, RecursionError, zlib.error, OSError, EOFError) as error:
            raise self._busy(f"its processing report cannot be read ({error})") from error
        if not isinstance(report, dict):
            raise self._busy("its processing report is no object")
        return report

    def _read(self, feed_id: str, report: Mapping[str, Any]) -> FeedReport:
        messages: dict[int, ChannelError] = {}
        with understood(Purpose.LEVELS, system=self._api.system, call=GET_FEED_DOCUMENT.name):
            for issue in report["issues"]:
                if issue.get("severity") != "ERROR":
                    continue
                said = f"{issue.get('code', 'refused')}: {issue['message']}"
                if issue.get("messageId") is None:
                    return FeedReport(messages={}, whole=self._unknown(said, feed_id))
                number = int(issue["messageId"])
                item = str(issue.get("sku") or f"message {number}")
                messages.setdefault(number, self._refused(said, item))
            invalid = int(report["summary"]["messagesInvalid"])
        if invalid > len(messages):
            # It says that more failed than it names: nothing of it is believed.
            said = f"{invalid} messages were invalid, {len(messages)} are named"
            return FeedReport(messages={}, whole=self._unknown(said, feed_id))
        return FeedReport(messages=messages)

    def _summary(self, document_id: str) -> str:
        try:
            issues = self._result(document_id).get("issues") or []
            return "; ".join(str(issue.get("message")) for issue in issues[:3])[:300]
        except (ChannelError, AttributeError, TypeError):
            return "its report cannot be read"

    def _cancelled(self, feed_id: str) -> ChannelBusy:
        return ChannelBusy(
            f"[feed {feed_id}] it was cancelled before it was worked through",
            system=self._api.system, call=CREATE_FEED.name, retry_after_s=LATER_S,
        )  # fmt: skip

    def _busy(self, message: str) -> ChannelError:
        trouble = Trouble(Kind.BUSY, message, retry_after_s=LATER_S)
        error = as_error(trouble, Purpose.LEVELS, system=self._api.system, call="feed document")
        assert isinstance(error, ChannelError)
        return error

    def _refused(self, message: str, item: str) -> ChannelRefused:
        return ChannelRefused(
            message, system=self._api.system, call=FEED_TYPE, item=item,
            hint="correct the listing there, or catalog/identifiers.csv.",
        )  # fmt: skip

    def _unknown(self, message: str, feed_id: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            message, system=self._api.system, call=FEED_TYPE, item=f"feed {feed_id}",
            hint="some of it may have been applied: listings are read before they are set again.",
        )  # fmt: skip


def _unpacked(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
        found = packed.read(MAX_REPORT_BYTES + 1)
    if len(found) > MAX_REPORT_BYTES:
        raise ValueError(f"more than {MAX_REPORT_BYTES} bytes")
    return found
