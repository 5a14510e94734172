"""Login with Amazon: an access token for an hour, bought with a refresh token.

A token is bought again before it ends, by one thread at a time; the others wait for it. Buying one
changes nothing at Amazon, so whatever goes wrong here leaves it known that nothing happened.
"""

import threading
import time
from collections.abc import Callable

import httpx

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.http import Caller, Kind, Trouble

PATH = "/auth/o2/token"
# Bought again when less than this is left: the longest call has to end with a valid token.
EARLY_S = 120.0
LEAST_LIFE_S = 30.0


class LwaTokens:
    """The access token of one selling partner. `monotonic` is for tests."""

    def __init__(
        self,
        *,
        system: str,
        url: str,
        client_id: Secret,
        client_secret: Secret,
        refresh_token: Secret,
        timeout_s: float,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caller = Caller(system=system, base_url=url, timeout_s=timeout_s, transport=transport)
        self._client_id = client_id
        self._client_secret = client_secret
        self._refresh_token = refresh_token
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token: Secret | None = None
        self._good_until = 0.0

    def close(self) -> None:
        self._caller.close()

    def token(self) -> Secret:
        """A token with some life left. Raises Trouble."""
        with self._lock:
            if self._token is None or self._monotonic() >= self._good_until:
                self._buy()
            assert self._token is not None
            return self._token

    def reject(self, token: Secret) -> None:
        """Amazon does not take this token any more; the next call buys another."""
        with self._lock:
            if self._token == token:
                self._token = None

    def _buy(self) -> None:
        asked_at = self._monotonic()
        form = {
            "grant_type": "refresh_token",
            "client_id": self._client_id.reveal(),
            "client_secret": self._client_secret.reveal(),
            "refresh_token": self._refresh_token.reveal(),
        }
        try:
            body = self._caller.read("POST", PATH, data=form).body
            token = body["access_token"]
            life_s = float(body["expires_in"])
            if not isinstance(token, str) or not token:
                raise ValueError("an empty access_token")  # noqa: TRY301
        except Trouble as trouble:
            raise _nothing_happened(trouble) from trouble
        except (KeyError, TypeError, ValueError) as error:
            raise Trouble(
                Kind.REFUSED,
                f"Login with Amazon gave no token: {type(error).__name__} {error}",
                hint="check `token_url` in hub.yaml.",
            ) from error
        self._token = Secret(token)
        self._good_until = asked_at + max(life_s - EARLY_S, min(life_s, LEAST_LIFE_S) / 2)


def _nothing_happened(trouble: Trouble) -> Trouble:
    """The trouble of buying a token: refused, or nothing has happened yet."""
    if trouble.kind is not Kind.REFUSED:
        return Trouble(
            Kind.BUSY,
            f"no access token: {trouble.message}",
            hint=trouble.hint,
            retry_after_s=trouble.retry_after_s,
        )
    if "invalid_grant" in trouble.message:
        hint = "the refresh token is wrong or withdrawn: authorize the application again."
    elif "invalid_client" in trouble.message or "unauthorized_client" in trouble.message:
        hint = "`client_id` or `client_secret` is wrong, or the secret was rotated."
    else:
        hint = "check client_id, client_secret and refresh_token in the environment."
    return Trouble(Kind.REFUSED, f"no access token: {trouble.message}", hint=hint)
