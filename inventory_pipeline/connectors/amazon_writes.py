"""Setting quantities: a patch for each listing, or one feed for many.

Amazon accepts first and applies later, so an accepted quantity comes with a receipt: for patches
it is read back, for a feed its processing report is asked for. A patch is `merge`: handling times
and restock dates of the listing stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from inventory_pipeline.connectors.amazon_api import PATCH_LISTING, SellingPartner
from inventory_pipeline.connectors.amazon_feeds import ListingsFeeds
from inventory_pipeline.connectors.amazon_listings import Listing, Listings
from inventory_pipeline.connectors.http import Purpose, understood
from inventory_pipeline.core.errors import (
    ChannelBusy,
    ChannelError,
    ChannelRefused,
    OutcomeUnknown,
)
from inventory_pipeline.core.ports import LevelWrite, Receipt, WriteOutcome
from inventory_pipeline.core.quantities import MILLI

CALL = PATCH_LISTING.name
FIRST_LOOK = timedelta(seconds=5)
FEED_FIRST_LOOK = timedelta(seconds=30)
PATCHES = "patches"
FEED = "feed"
Answers = dict[int, ChannelError | None]


def merge_patch(code: str, units: int) -> dict[str, Any]:
    """The one change that the hub makes to a listing."""
    return {
        "op": "merge",
        "path": "/attributes/fulfillment_availability",
        "value": [{"fulfillment_channel_code": code, "quantity": units}],
    }


class ListingWriter:
    """Sets quantities of one seller's listings. `feed_from` listings or more go by a feed."""

    def __init__(
        self,
        api: SellingPartner,
        listings: Listings,
        feeds: ListingsFeeds,
        *,
        marketplace_id: str,
        feed_from: int,
        patch_window: timedelta,
        feed_window: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._listings = listings
        self._feeds = feeds
        self._marketplace_id = marketplace_id
        self._feed_from = feed_from
        self._patch_window = patch_window
        self._feed_window = feed_window
        self._clock = clock

    def write(self, writes: Sequence[LevelWrite]) -> list[WriteOutcome]:
        """One outcome for each write; the accepted ones share a receipt."""
        types = self._listings.product_types([write.listing.external_id for write in writes])
        errors: Answers = {}
        sendable: dict[int, str] = {}
        taken: set[tuple[str, str]] = set()
        for place, write in enumerate(writes):
            problem = self._impossible(write, types.get(write.listing.external_id), taken)
            if problem is not None:
                errors[place] = problem
            else:
                taken.add(self._target(write))
                sendable[place] = str(types[write.listing.external_id])
        receipt: Receipt | None = None
        if sendable and len(sendable) >= self._feed_from:
            receipt = self._by_feed(writes, sendable, alone=not errors, errors=errors)
        elif sendable:
            receipt = self._one_by_one(writes, sendable, errors)
        return [
            WriteOutcome(
                write=write,
                error=errors[place],
                receipt=None if errors[place] is not None else receipt,
            )
            for place, write in enumerate(writes)
        ]

    def read_back(self, writes: Sequence[LevelWrite]) -> list[WriteOutcome] | None:
        """What became of accepted patches; None while a listing does not show its quantity yet."""
        skus = {write.listing.external_id for write in writes}
        shown = self._listings.some(skus, purpose=Purpose.LEVELS)
        outcomes = [self._shown(write, shown.get(write.listing.external_id)) for write in writes]
        if any(outcome is None for outcome in outcomes):
            return None
        return [outcome for outcome in outcomes if outcome is not None]

    def reported(self, receipt: Receipt, writes: Sequence[LevelWrite]) -> list[WriteOutcome] | None:
        """What became of a feed's messages; None while it is queued or at work."""
        messages = receipt.body.get("messages")
        if not isinstance(messages, dict):
            raise self._refused("the receipt names no messages", "")
        errors = self._feeds.report(str(receipt.body.get("feed_id")))
        if errors is None:
            return None
        outcomes = []
        for write in writes:
            number = messages.get(_name(*self._target(write)))
            error = (
                self._unknown("the feed has no such message", write)
                if number is None
                else errors.of(int(number))
            )
            if error is not None:
                self._listings.forget(write.listing.external_id)
            outcomes.append(WriteOutcome(write=write, error=error))
        return outcomes

    def _one_by_one(
        self, writes: Sequence[LevelWrite], sendable: Mapping[int, str], errors: Answers
    ) -> Receipt:
        """Patches until one is told to wait; the rest then waits with it."""
        submissions: dict[str, str] = {}
        waiting: ChannelBusy | None = None
        for place, product_type in sendable.items():
            if waiting is not None:
                errors[place] = waiting
                continue
            write = writes[place]
            try:
                errors[place], submission = self._patch(write, product_type)
                submissions[_name(*self._target(write))] = submission
            except ChannelBusy as busy:
                errors[place] = waiting = busy
            except ChannelError as error:
                errors[place] = error
        if waiting is not None and all(error is waiting for error in errors.values()):
            raise waiting
        now = self._clock()
        return Receipt(
            body={"kind": PATCHES, "submissions": submissions},
            poll_after=now + FIRST_LOOK,
            give_up_at=now + self._patch_window,
        )

    def _patch(self, write: LevelWrite, product_type: str) -> tuple[ChannelError | None, str]:
        sku, code = self._target(write)
        body = self._api.ask(
            PATCH_LISTING,
            self._listings.path_of(sku),
            purpose=Purpose.WRITE,
            params={"marketplaceIds": self._marketplace_id, "includedData": "issues"},
            json={
                "productType": product_type,
                "patches": [merge_patch(code, write.quantity_milli // MILLI)],
            },
        )
        with understood(Purpose.WRITE, system=self._api.system, call=CALL):
            status, submission = str(body["status"]), str(body["submissionId"])
            if status == "INVALID":
                self._listings.forget(sku)
                return self._refused(_issues(body) or "INVALID without an issue", sku), submission
            if status not in {"ACCEPTED", "VALID"}:
                raise ValueError(f"status {status}")
        return None, submission

    def _by_feed(
        self,
        writes: Sequence[LevelWrite],
        sendable: Mapping[int, str],
        *,
        alone: bool,
        errors: Answers,
    ) -> Receipt | None:
        messages: dict[str, int] = {}
        content: list[dict[str, Any]] = []
        for number, (place, product_type) in enumerate(sendable.items(), start=1):
            sku, code = self._target(writes[place])
            messages[_name(sku, code)] = number
            content.append(
                {
                    "messageId": number,
                    "sku": sku,
                    "operationType": "PATCH",
                    "productType": product_type,
                    "patches": [merge_patch(code, writes[place].quantity_milli // MILLI)],
                }
            )
        try:
            feed_id = self._feeds.submit(content)
        except ChannelError as error:
            if alone:
                raise
            errors.update(dict.fromkeys(sendable, error))
            return None
        errors.update(dict.fromkeys(sendable))
        now = self._clock()
        return Receipt(
            body={"kind": FEED, "feed_id": feed_id, "messages": messages},
            poll_after=now + FEED_FIRST_LOOK,
            give_up_at=now + self._feed_window,
        )

    def _impossible(
        self, write: LevelWrite, found: str | Listing | None, taken: set[tuple[str, str]]
    ) -> ChannelRefused | None:
        """Why a quantity cannot even be sent."""
        sku, code = self._target(write)
        if found is None:
            return self._refused(
                "this seller has no such listing here", sku,
                "correct catalog/identifiers.csv, or list it in this marketplace.",
            )  # fmt: skip
        if code.startswith("AMAZON") or (isinstance(found, Listing) and found.by_amazon):
            return self._refused(
                "Amazon fills this listing, so its quantity is not the seller's to set", sku,
                "leave it out of catalog/identifiers.csv for this system.",
            )  # fmt: skip
        if isinstance(found, Listing):
            return self._refused(
                "the listing has no product type in this marketplace", sku,
                "complete the listing there.",
            )  # fmt: skip
        if self._target(write) in taken:
            return self._refused(
                "two listings mean one sku", sku, "remove one from catalog/identifiers.csv."
            )
        if write.quantity_milli % MILLI or write.quantity_milli < 0:
            return self._refused(
                "Amazon counts whole units from 0", sku,
                "set the channel's `decimals` in hub.yaml to 0.",
            )  # fmt: skip
        return None

    def _shown(self, write: LevelWrite, shown: Listing | None) -> WriteOutcome | None:
        sku, code = self._target(write)
        if shown is None:
            gone = self._refused("the listing is gone", sku, "correct catalog/identifiers.csv.")
            return WriteOutcome(write=write, error=gone)
        if shown.quantities.get(code) == write.quantity_milli // MILLI:
            return WriteOutcome(write=write, error=None)
        if shown.refusals:
            return WriteOutcome(write=write, error=self._refused("; ".join(shown.refusals), sku))
        units = shown.quantities.get(code)
        if units is None or write.compare_milli in {None, units * MILLI}:
            return None
        # Neither the new number nor the one from before: it sold, before or after it was applied.
        moved = self._unknown(f"it shows {units}: it sold or was changed meanwhile", write)
        return WriteOutcome(write=write, error=moved)

    def _target(self, write: LevelWrite) -> tuple[str, str]:
        return write.listing.external_id, self._listings.code_of(write.listing)

    def _refused(self, message: str, sku: str, hint: str = "") -> ChannelRefused:
        return ChannelRefused(
            message, system=self._api.system, call=CALL, item=sku,
            hint=hint or "it will not be accepted as sent: a person must look.",
        )  # fmt: skip

    def _unknown(self, message: str, write: LevelWrite) -> OutcomeUnknown:
        return OutcomeUnknown(
            message, system=self._api.system, call=CALL, item=write.listing.external_id,
            hint="it is read before anything is written again.",
        )  # fmt: skip


def _name(sku: str, code: str) -> str:
    return f"{code}/{sku}"


def _issues(body: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{issue.get('code')}: {issue.get('message')}" for issue in body.get("issues") or []
    )
