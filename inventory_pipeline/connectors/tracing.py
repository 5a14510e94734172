"""Shows each HTTP request of a connector and its answer, with secrets masked: for `probe --trace`.

    with tracing(show, secrets):
        connector = build(opening, name)   # what it asks from now on is shown

A connector takes part by building its client on `traced(transport)`. Outside of `tracing` that is
the transport itself.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import httpx

from inventory_pipeline.config.secrets import MASK, Secret

MAX_SHOWN = 2000  # characters of a body
MIN_SECRET = 4  # shorter texts stand in too many innocent places
# Headers that carry a secret whatever they are called in the hub folder.
SECRET_HEADERS = re.compile(
    r"authorization|cookie|token|api[-_]?key|signature|secret", re.IGNORECASE
)
# Fields of a body that do, as "token": "…" or token=….
SECRET_FIELD = re.compile(
    r"""((?:access_|refresh_|auth_|session_?)?token|password|client_secret|api_?key)"""
    r"""(\\?"?\s*[:=]\s*\\?"?)([^"&\s,}\\]+)""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back, ready to be shown: nothing secret is in it."""

    request: str
    request_headers: tuple[str, ...]
    request_body: str
    status: str = ""
    answer_headers: tuple[str, ...] = ()
    answer_body: str = ""
    seconds: float = 0


@dataclass(frozen=True, slots=True)
class _Tracer:
    show: Callable[[Exchange | str], None]
    secrets: tuple[str, ...]

    def masked(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return SECRET_FIELD.sub(rf"\1\2{MASK}", text)


_current: ContextVar[_Tracer | None] = ContextVar("tracer", default=None)


@contextmanager
def tracing(
    show: Callable[[Exchange | str], None], secrets: Iterable[Secret] = ()
) -> Iterator[None]:
    """Connectors that are built within show what they ask, for as long as they live.

    `show` gets an Exchange for each call, and a text for what `found` says of one.
    """
    texts = {secret.reveal() for secret in secrets}
    longest_first = sorted((t for t in texts if len(t) >= MIN_SECRET), key=len, reverse=True)
    token = _current.set(_Tracer(show, tuple(longest_first)))
    try:
        yield
    finally:
        _current.reset(token)


def traced(transport: httpx.BaseTransport | None) -> httpx.BaseTransport | None:
    """The transport, or one around it that shows what passes."""
    tracer = _current.get()
    if tracer is None or isinstance(transport, _Traced):
        return transport
    return _Traced(transport or httpx.HTTPTransport(), tracer)


def finder() -> Callable[[str, Any], None]:
    """Shows what a path found in an answer; does nothing outside of `tracing`."""
    tracer = _current.get()
    if tracer is None:
        return lambda _path, _found: None
    shown = tracer

    def found(path: str, value: object) -> None:
        shown.show(shown.masked(f"{path} → {str(value)[:200]}"))

    return found


class _Traced(httpx.BaseTransport):
    def __init__(self, inner: httpx.BaseTransport, tracer: _Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        started = time.monotonic()
        masked = self._tracer.masked
        seen = Exchange(
            request=masked(f"{request.method} {request.url}"),
            request_headers=_headers(request.headers, masked),
            request_body=masked(_shown(request.read())),
        )
        try:
            response = self._inner.handle_request(request)
            content = response.read()
        except httpx.TransportError as error:
            status = f"no answer: {type(error).__name__} {error}"
            self._tracer.show(replace(seen, status=status, seconds=time.monotonic() - started))
            raise
        self._tracer.show(
            replace(
                seen,
                status=str(response.status_code),
                answer_headers=_headers(response.headers, masked),
                answer_body=masked(_shown(content)),
                seconds=time.monotonic() - started,
            )
        )
        return httpx.Response(
            response.status_code,
            # The body is whole and unpacked now; what said how it was packed does not hold.
            headers=[
                (name, value)
                for name, value in response.headers.multi_items()
                if name not in {"content-encoding", "transfer-encoding", "content-length"}
            ],
            content=content,
        )

    def close(self) -> None:
        self._inner.close()


def _headers(headers: httpx.Headers, masked: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(
        f"{name}: {MASK if SECRET_HEADERS.search(name) else masked(value)}"
        for name, value in headers.multi_items()
    )


def _shown(content: bytes) -> str:
    text = content.decode("utf-8", "replace")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text):,} characters)"
