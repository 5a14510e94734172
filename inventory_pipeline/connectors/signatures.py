"""Signed deliveries: base64 of HMAC-SHA256 over the raw body, compared in constant time."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.core.errors import WebhookRefused
from inventory_pipeline.core.ports import Delivery


def check_signature(
    delivery: Delivery, *, header: str, secrets: Sequence[Secret], system: str
) -> None:
    """Accepts a signature by any of the secrets: while one is being rotated, two hold. Raises
    WebhookRefused.
    """
    if not secrets:
        raise WebhookRefused(
            "no webhook_secret is set, so nothing that comes in can be believed",
            system=system,
            status=403,
            hint="set `webhook_secret` in the system's options.",
        )
    given = delivery.headers.get(header, "").strip().encode("utf-8", "replace")
    # Every secret is tried, so that the time taken tells nothing about which one fits.
    fits = [hmac.compare_digest(_signature(s, delivery.body), given) for s in secrets]
    if not any(fits):
        raise WebhookRefused(
            f"the signature in {header} is missing or wrong",
            system=system,
            hint="compare `webhook_secret` with the one in the shop; a rotated secret can take an "
            "hour: list both until then.",
        )


def parse_payload(delivery: Delivery, *, system: str) -> dict[str, Any]:
    """The JSON object of a delivery, numbers exact. Raises WebhookRefused."""
    try:
        payload = json.loads(delivery.body, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise _unreadable(system, str(error)) from error
    if not isinstance(payload, dict):
        raise _unreadable(system, f"a {type(payload).__name__}, not an object")
    return payload


def unreadable_order(system: str, error: Exception) -> WebhookRefused:
    """For a payload that is no order."""
    return _unreadable(system, f"not an order: {type(error).__name__} {error}")


def unreadable_level(system: str, error: Exception) -> WebhookRefused:
    """For a payload that tells no level."""
    return _unreadable(system, f"not a level: {type(error).__name__} {error}")


def _signature(secret: Secret, body: bytes) -> bytes:
    digest = hmac.new(secret.reveal().encode(), body, hashlib.sha256).digest()
    return base64.b64encode(digest)


def _unreadable(system: str, why: str) -> WebhookRefused:
    return WebhookRefused(
        f"the body cannot be read: {why}",
        system=system,
        status=422,
        hint="check the webhook's topic and API version in the shop.",
    )
