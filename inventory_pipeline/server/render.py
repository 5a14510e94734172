"""What every page is drawn from, and the templates with the names that each of them uses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.access import Role
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.memory.postgres import Connection, Postgres
from inventory_pipeline.server import charts, present
from inventory_pipeline.server.access import person_of
from inventory_pipeline.server.judging import Judging
from inventory_pipeline.server.search import Search
from inventory_pipeline.server.sessions import Sessions
from inventory_pipeline.server.wellbeing import Wellbeing, look

TEMPLATES = Path(__file__).with_name("templates")
STATIC = Path(__file__).with_name("static")
# In a template: what stands above goes to the browser before what follows is computed.
DONE = {
    "released": "Released {:,} listing{}: the next drain sends them.",
    "rejected": "Rejected {:,} listing{}: the channel goes on showing what it shows.",
    "retried": "{:,} listing{} will be read and sent again.",
    "dropped": "Dropped {:,} listing{} from the dead letter.",
}
FLUSH = "<!-- more comes -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """The hub may be replaced while pages are drawn: each takes it once, by `hub`."""

    ctx: HubContext
    pg: Postgres
    current_hub: Callable[[], Hub]
    dagster_url: str
    sessions: Sessions
    search: Search
    judging: Judging

    @property
    def hub(self) -> Hub:
        return self.current_hub()

    def wellbeing(self, connection: Connection) -> Wellbeing:
        """How the hub is now."""
        ctx = self.ctx
        return look(
            connection, self.hub, ctx.connectors,
            state=ctx.state, at=self.clock(), judging=self.judging,
        )  # fmt: skip

    @property
    def clock(self) -> Clock:
        return self.ctx.clock


class Renderer:
    """Draws a template for the person who asks."""

    def __init__(self, page: PageContext) -> None:
        self._page = page
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            quantity=present.quantity,
            signed=present.signed,
            count=present.count,
            latency=present.latency,
            moment=present.moment,
            age_of=present.age_of,
            words=present.words,
        )
        self._environment.globals.update(
            percent=present.percent,
            share_bar=lambda *values: Markup(charts.share_bar(*values)),  # noqa: S704 - our own SVG
            flush=Markup(FLUSH),  # noqa: S704 - a constant
        )

    def __call__(
        self, request: Request, template: str, *, status_code: int = 200, **values: Any
    ) -> HTMLResponse:
        text = self._environment.get_template(template).render(self._names(request), **values)
        return HTMLResponse(text, status_code=status_code)

    def streamed(self, request: Request, template: str, **values: Any) -> StreamingResponse:
        """As a page, and each part as soon as it is there; parts end where a template flushes."""
        pieces = self._environment.get_template(template).generate(self._names(request), **values)
        return StreamingResponse(_parts(pieces), media_type="text/html")

    def _names(self, request: Request) -> dict[str, Any]:
        now: datetime = self._page.clock()
        person = getattr(request.state, "person", None)
        return {
            "hub": self._page.hub,
            "dagster": self._page.dagster_url.rstrip("/"),
            "now": now,
            "ago": lambda then: present.age(then, now),
            "person": person,
            "may": lambda role: person is not None and person.may(Role(role)),
            "form_token": lambda: self._page.sessions.form_token(person_of(request)),
            "here_url": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "said": _said(request.query_params.get("said", "")),
        }


def _said(code: str) -> str:
    """What an action did, as its answer's address tells: `released-3`. Nothing else is shown."""
    verb, _, number = code.partition("-")
    if verb not in DONE or not number.isdigit() or len(number) > 9:
        return ""
    return DONE[verb].format(int(number), "" if int(number) == 1 else "s")


def _parts(pieces: Iterator[str]) -> Iterator[str]:
    waiting: list[str] = []
    for piece in pieces:
        waiting.append(piece)
        if FLUSH in piece:
            yield "".join(waiting)
            waiting = []
    yield "".join(waiting)
