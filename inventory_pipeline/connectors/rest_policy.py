"""What hub.yaml says of a system that the connector `rest` speaks to (docs/rest.md).

Every text may hold `{names}`; every path is a JSONPath (RFC 9535) into one answer.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.core.ports import Basis
from inventory_pipeline.core.vocabulary import EventType, MovesAt


def _revealed(value: object) -> object:
    return SecretStr(value.reveal()) if isinstance(value, Secret) else value


def _checked_path(value: str) -> str:
    import jsonpath

    try:
        jsonpath.compile("$" + value[1:] if value[:1] in {"@", "^"} else value)
    except jsonpath.JSONPathError as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"{value!r} is no JSON path: {said}") from None
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _plain(value: object) -> object:
    return value.reveal() if isinstance(value, Secret) else value


# A text that may come from the environment without being secret.
Text = Annotated[str, BeforeValidator(_plain)]
Hidden = Annotated[SecretStr, BeforeValidator(_revealed)]
Path = Annotated[str, Field(min_length=1), BeforeValidator(_checked_path)]
# Paths from the whole to its rows: each looks into what the one before found, by "@".
Rows = Annotated[list[Path], Field(min_length=1), BeforeValidator(_listed)]
Headers = dict[str, Text]


class Part(BaseModel):
    """A mapping in hub.yaml; what it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class NoAuth(Part):
    scheme: Literal["none"] = "none"


class Bearer(Part):
    scheme: Literal["bearer"]
    token: Hidden


class Basic(Part):
    scheme: Literal["basic"]
    username: Text
    password: Hidden


class HeaderAuth(Part):
    """A key in a header of its own."""

    scheme: Literal["header"]
    name: str
    value: Hidden


class QueryAuth(Part):
    """A key in the address."""

    scheme: Literal["query"]
    name: str
    value: Hidden


class OAuth2(Part):
    """Tokens from a token address, by client credentials or by a refresh token."""

    scheme: Literal["oauth2"]
    token_path: Text
    client_id: Text
    client_secret: Hidden
    refresh_token: Hidden | None = None
    scope: str = ""


class Login(Part):
    """A call whose answer holds a token: in its JSON (`token`) or in a header (`token_header`).

    `username` and `password` may stand in `json` as {username} and {password}.
    """

    scheme: Literal["login"]
    path: str
    body: Any = Field(alias="json")
    username: Text = ""
    password: Hidden
    token: Path | None = None
    token_header: str = ""
    send_as: str = "Authorization"
    prefix: str = "Bearer "

    @model_validator(mode="after")
    def _one_place(self) -> "Login":
        if bool(self.token) is bool(self.token_header):
            raise ValueError("give token (a path) or token_header, one of them")
        return self


Auth = Annotated[
    NoAuth | Bearer | Basic | HeaderAuth | QueryAuth | OAuth2 | Login, Field(discriminator="scheme")
]


class Call(Part):
    """One request."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "GET"
    path: str
    query: dict[str, Any] = Field(default_factory=dict)
    body: Any = Field(default=None, alias="json")


class Paging(Part):
    """How the next page is asked for.

    page: {page} counts from `first`. offset: {offset} counts items. cursor: {cursor} is what
    `next` found in the last answer. link: the Link header names the next address. none: one page.
    """

    style: Literal["none", "page", "offset", "cursor", "link"] = "none"
    size: int = Field(100, ge=1, le=10_000)
    first: int = 1
    next: Path | None = None

    @model_validator(mode="after")
    def _needs_next(self) -> "Paging":
        if (self.style == "cursor") is not (self.next is not None):
            raise ValueError("next is a path, needed with style: cursor and with no other")
        return self


class Levels(Part):
    """What the system shows. `items` finds the rows; the other paths look into a row ("@"), the row
    around it ("^") or the whole answer ("$"). `some` asks for {items} alone, where that is offered.
    """

    call: Call
    some: Call | None = None
    paging: Paging = Paging()
    items: Rows
    item: Path
    location: Path | None = None
    quantity: Path
    reserved: Path | None = None
    absent_is_empty: bool = False  # an answer without the list of `items` means: none
    changed_at: Path | None = None


class Event(Part):
    """One kind of event out of one order or movement.

    `each` finds its rows, `take` names what their paths find, one after the other, and the texts
    are made of these names; so are later paths, which can look up what belongs to a row. A row
    where `when` finds nothing is no event.
    """

    type: EventType
    each: Rows = Field(default_factory=lambda: ["$"])
    take: dict[str, Path]
    when: Path | None = None
    event_id: str
    occurred_at: str
    fields: dict[str, str] = Field(default_factory=dict)


class Changes(Part):
    """Orders or movements that changed since a time, the oldest change first: {since} in the
    call.
    """

    call: Call
    paging: Paging = Paging()
    items: Path
    absent_is_empty: bool = False
    changed_at: Path
    overlap_s: float = Field(60, ge=0, le=86_400)
    since: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    events: list[Event] = Field(min_length=1)


class Failed(Part):
    """Writes of a batch that the answer of a 200 names as failed."""

    items: Rows
    item: Path
    message: Path | None = None


class WriteCall(Part):
    """How quantities are set. With `each`, `json` holds {writes}: a list of `each` filled in."""

    call: Call
    each: Any = None
    batch: int = Field(1, ge=1, le=10_000)
    resolve: "Resolve | None" = None
    failed: Failed | None = None
    applied: Path | None = None  # finds nothing: nobody knows whether it was applied

    @model_validator(mode="after")
    def _batch_needs_each(self) -> "WriteCall":
        if self.batch > 1 and self.each is None:
            raise ValueError("a batch above 1 needs `each`, one write's part of the body")
        return self


class Resolve(Part):
    """Asks for the system's own id of items first: {items} in the call; then {id} in the write."""

    call: Call
    items: Rows
    item: Path
    id: Path


class ErrorClass(Part):
    """What an answer means, by its status, or by a path that finds something in it."""

    status: list[int] = Field(default_factory=list)
    path: Path | None = None
    means: Literal["busy", "refused", "unknown", "stale", "login"]
    message: Path | None = None

    @model_validator(mode="after")
    def _says_when(self) -> "ErrorClass":
        if not self.status and self.path is None:
            raise ValueError("give status, path, or both")
        return self


class Limit(Part):
    """A bucket (`burst`, `per_second`) or a window (`units` within `seconds`) for all calls."""

    burst: float | None = Field(None, gt=0)
    per_second: float | None = Field(None, gt=0)
    units: float | None = Field(None, gt=0)
    seconds: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> "Limit":
        bucket = self.burst is not None and self.per_second is not None
        window = self.units is not None and self.seconds is not None
        if bucket is window:
            raise ValueError("give burst and per_second, or units and seconds")
        return self


class Able(Part):
    """What cannot be read off the calls."""

    basis: Basis = Basis.AVAILABLE
    moves_at: MovesAt = MovesAt.NONE
    restores_on: frozenset[Literal["cancel", "refund"]] = frozenset()
    decimals: int = Field(0, ge=0, le=3)
    revisions_per_day: int | None = Field(None, ge=1)
    keys_for_h: float | None = Field(None, gt=0)  # {key} in the write is remembered so long


class Rest(Part):
    """The options of one system whose connector is `rest`."""

    url: Text
    headers: Headers = Field(default_factory=dict)
    timeout_s: float = Field(30, ge=0.05, le=600)
    auth: Auth = NoAuth()
    limit: Limit | None = None
    errors: list[ErrorClass] = Field(default_factory=list)
    levels: Levels | None = None
    changes: Changes | None = None
    write: WriteCall | None = None
    capabilities: Able = Able()

    @model_validator(mode="after")
    def _does_something(self) -> "Rest":
        if not (self.levels or self.changes):
            raise ValueError("give levels, changes, or both")
        if self.write and not self.levels:
            raise ValueError("write needs levels: the hub reads before it writes")
        return self
