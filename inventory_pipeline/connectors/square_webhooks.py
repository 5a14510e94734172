"""Square's deliveries: signed over the address that they were sent to and the raw body."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.http import utc_time
from inventory_pipeline.connectors.signatures import parse_payload, unreadable_level
from inventory_pipeline.connectors.square_changes import IN_STOCK
from inventory_pipeline.core.errors import WebhookRefused
from inventory_pipeline.core.ports import Delivery, LevelHint, Verified
from inventory_pipeline.core.quantities import InexactQuantity, parse_decimal, to_milli

HEADER = "x-square-hmacsha256-signature"
COUNT_UPDATED = "inventory.count.updated"


def verify(delivery: Delivery, *, url: str, keys: Sequence[Secret], system: str) -> Verified:
    """Accepts a signature by any of the keys: while one is being rotated, two hold.

    `url` is the notification URL exactly as it stands at Square; the delivery's own where it is "".
    Raises WebhookRefused.
    """
    if not keys:
        raise WebhookRefused(
            "no webhook_secret is set, so nothing that comes in can be believed",
            system=system,
            status=403,
            hint="set `webhook_secret` to the subscription's signature key.",
        )
    given = delivery.headers.get(HEADER, "").strip().encode("utf-8", "replace")
    signed = (url or delivery.url).encode() + delivery.body
    # Every key is tried, so that the time taken tells nothing about which one fits.
    fits = [hmac.compare_digest(_signature(key, signed), given) for key in keys]
    if not any(fits):
        raise WebhookRefused(
            f"the signature in {HEADER} is missing or wrong",
            system=system,
            hint="compare `webhook_secret` with the signature key, and `notification_url` with the "
            "address of the subscription, letter by letter.",
        )
    payload = parse_payload(delivery, system=system)
    return Verified(
        topic=str(payload.get("type") or ""), delivery_id=str(payload.get("event_id") or "")
    )


def changed_objects(delivery: Delivery, *, system: str) -> Mapping[str, datetime | None]:
    """Catalogue object → when its count was calculated, of an inventory.count.updated.

    Raises WebhookRefused for a body that is none.
    """
    payload = parse_payload(delivery, system=system)
    found: dict[str, datetime | None] = {}
    try:
        counts: list[dict[str, Any]] = (payload["data"].get("object") or {}).get(
            "inventory_counts"
        ) or []
        for count in counts:
            name, time = str(count["catalog_object_id"]), _time(count.get("calculated_at"))
            known = found.get(name, time)
            found[name] = None if time is None or known is None else min(known, time)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WebhookRefused(
            f"not an inventory count: {type(error).__name__} {error}",
            system=system,
            status=422,
            hint="check the subscription's event types and API version at Square.",
        ) from error
    return found


def told_levels(delivery: Delivery, *, system: str) -> list[LevelHint]:
    """What an inventory.count.updated says is in stock, by variation id and location id.

    Raises WebhookRefused for a body that is none.
    """
    try:
        payload = parse_payload(delivery, system=system)
        counts = (payload["data"].get("object") or {}).get("inventory_counts") or []
        return [
            LevelHint(
                external_id=str(count["catalog_object_id"]),
                bucket_external=str(count["location_id"]),
                quantity_milli=to_milli(parse_decimal(count["quantity"])),
                told_at=_time(count.get("calculated_at")),
            )
            for count in counts
            if count["state"] == IN_STOCK
        ]
    except InexactQuantity:
        return []  # said where levels are read
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable_level(system, error) from error


def _signature(key: Secret, signed: bytes) -> bytes:
    return base64.b64encode(hmac.new(key.reveal().encode(), signed, hashlib.sha256).digest())


def _time(text: object) -> datetime | None:
    if not text:
        return None
    return datetime.fromisoformat(utc_time(text))
