"""Vendure's admin API: logs in, asks, and tells from a 200 what really became of the question.

The API answers 200 also where it refuses: `errors` then holds a code. Every mutation is one
transaction there, so that an error means that nothing of it was applied.
"""

import threading
from typing import Any

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.http import Caller, Kind, Trouble

TOKEN_HEADER = "vendure-auth-token"  # noqa: S105 - a header's name
KEY_HEADER = "vendure-api-key"
CHANNEL_HEADER = "vendure-token"
LOGIN = """
mutation Login($username: String!, $password: String!) {
  login(username: $username, password: $password) {
    __typename
    ... on ErrorResult { errorCode message }
  }
}
"""
REFUSALS = frozenset(
    {"USER_INPUT_ERROR", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT", "ENTITY_NOT_FOUND"}
)
NO_RIGHT = frozenset({"FORBIDDEN", "UNAUTHORIZED", "UNAUTHENTICATED"})


class Admin:
    """One administrator's session. Safe to use from several threads."""

    def __init__(
        self,
        caller: Caller,
        *,
        path: str,
        username: str,
        password: Secret | None,
        api_key: Secret | None,
        channel_token: str,
    ) -> None:
        self._caller = caller
        self._path = path
        self._username = username
        self._password = password
        self._headers = {CHANNEL_HEADER: channel_token} if channel_token else {}
        if api_key is not None:
            self._headers[KEY_HEADER] = api_key.reveal()
        self._token = ""
        self._lock = threading.Lock()

    def read(self, query: str, **variables: Any) -> Any:
        """The `data` of a query, asked again where that can help. Raises Trouble."""
        return self._with_session(query, variables, writes=False)

    def write(self, mutation: str, **variables: Any) -> Any:
        """The `data` of a mutation, sent once. Raises Trouble."""
        return self._with_session(mutation, variables, writes=True)

    def _with_session(self, query: str, variables: dict[str, Any], *, writes: bool) -> Any:
        token = self._token or self._log_in("")
        answer = self._ask(query, variables, token, writes=writes)
        if _codes(answer) & NO_RIGHT and self._password is not None:
            # A session ends there after a time or with a restart; one new login tells the rest.
            answer = self._ask(query, variables, self._log_in(token), writes=writes)
        return _data(answer)

    def _ask(self, query: str, variables: dict[str, Any], token: str, *, writes: bool) -> Any:
        headers = {**self._headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        call = self._caller.once if writes else self._caller.read
        body = {"query": query, "variables": variables}
        return call("POST", self._path, json=body, headers=headers).body

    def _log_in(self, used: str) -> str:
        """A token that is not `used`: several threads that found the session ended log in once."""
        if self._password is None:
            return ""
        with self._lock:
            if self._token != used:
                return self._token
            who = {"username": self._username, "password": self._password.reveal()}
            answer = self._caller.read(
                "POST",
                self._path,
                json={"query": LOGIN, "variables": who},
                headers=self._headers,
            )
            said = _data(answer.body)["login"]
            token = answer.headers.get(TOKEN_HEADER, "")
            if said.get("__typename") != "CurrentUser" or not token:
                raise Trouble(
                    Kind.REFUSED,
                    f"it does not let {self._username!r} in: {said.get('message') or 'no token'}",
                    hint="check `username` and `password`, and that the shop's tokenMethod has "
                    "'bearer'.",
                )
            self._token = token
            return token


def _codes(answer: Any) -> frozenset[str]:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return frozenset(str((error.get("extensions") or {}).get("code", "")) for error in errors or [])


def _data(answer: Any) -> Any:
    """What was asked for. Raises Trouble where the answer holds errors."""
    if not isinstance(answer, dict):
        raise Trouble(Kind.UNKNOWN, "the answer is no GraphQL answer")
    errors = answer.get("errors")
    if not errors:
        return answer["data"]
    codes = _codes(answer)
    said = "; ".join(str(error.get("message", ""))[:200] for error in errors[:3])
    if codes & NO_RIGHT:
        raise Trouble(
            Kind.REFUSED, said, hint="check what the administrator's role may do (docs/vendure.md)."
        )
    if codes & REFUSALS:
        raise Trouble(Kind.REFUSED, said, hint="compare hub.yaml with docs/vendure.md.")
    # Without a code it is the shop's own fault: a locked database, a plugin that fails.
    raise Trouble(Kind.UNKNOWN, said or "an error without a message")
