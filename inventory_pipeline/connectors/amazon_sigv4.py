"""AWS Signature Version 4 for one POST request: what Amazon's queues ask of every call.

Follows the published algorithm: a canonical request, a text to sign, a key derived from the day,
the region and the service.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from inventory_pipeline.config.secrets import Secret

ALGORITHM = "AWS4-HMAC-SHA256"


def signed_headers(
    *,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    key_id: str,
    secret: Secret,
    session_token: Secret | None,
    region: str,
    service: str,
    now: datetime,
    method: str = "POST",
) -> dict[str, str]:
    """`headers` and those that prove who sends them; header names become lower case.

    The address has a plain path and no query.
    """
    parts = urlsplit(url)
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    signing = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signing |= {"host": parts.netloc, "x-amz-date": stamp}
    if session_token is not None:
        signing["x-amz-security-token"] = session_token.reveal()
    names = ";".join(sorted(signing))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            "",
            *(f"{name}:{signing[name]}" for name in sorted(signing)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret.reveal()}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return signing | {
        "authorization": f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    }
