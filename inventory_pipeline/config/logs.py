"""Logs of every process: one line an event on the error output, by one setting for all of them.

`HUB_LOG_FORMAT` is json, console or auto (console on a terminal, else json); `HUB_LOG_LEVEL` is
debug, info, warning or error. Lines of libraries, which use the standard library's logging, come
out in the same shape.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog

from inventory_pipeline.config.secrets import MASK, spoken
from inventory_pipeline.core.errors import HubError

FORMAT = "HUB_LOG_FORMAT"
LEVEL = "HUB_LOG_LEVEL"
FORMATS = ("auto", "json", "console")
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Ids that one line names; more of them are more lines, so that none is left out.
IDS_A_LINE = 500
_OURS = "inventory_pipeline"


class BadLogSetting(HubError):
    """HUB_LOG_FORMAT or HUB_LOG_LEVEL has a value that nobody knows."""


def configure_logs(
    *, json: bool | None = None, level: str = "info", environ: Mapping[str, str] | None = None
) -> None:
    """Sets logging up for this process; again is harmless.

    `json` and `level` are what counts where the environment says nothing; `json=None` decides by
    whether the error output is a terminal. Raises BadLogSetting.
    """
    given = os.environ if environ is None else environ
    as_json = _as_json(given, json)
    least = LEVELS[_setting(given, LEVEL, level, tuple(LEVELS))]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = [
        # Never the values of a stack's variables: tokens and bodies stand in them.
        *([structlog.processors.format_exc_info] if as_json else []),
        _renderer(as_json),
        _concealed,
    ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=_ErrorOutput()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    _configure_libraries([*shared, structlog.stdlib.ExtraAdder()], last, least)


def wanted(log: Any, level: int) -> bool:
    """Whether anybody reads a line of this level; asked before what it says is looked up.

    In a process that never configured its logs nobody does.
    """
    return structlog.is_configured() and bool(log.is_enabled_for(level))


def in_lines(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids of one piece of work, as many as a line names; one empty piece where there are
    none.
    """
    for start in range(0, max(1, len(ids)), IDS_A_LINE):
        yield ids[start : start + IDS_A_LINE]


def json_is_asked_for(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the setting says json: programs that are not ours are then told so as well."""
    given = os.environ if environ is None else environ
    return _setting(given, FORMAT, "auto", FORMATS) == "json"


class _ErrorOutput:
    """Whatever the error output is at the moment of a line."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _Libraries(logging.StreamHandler):  # type: ignore[type-arg]
    """Prints records of the standard library's loggers, ours among them.

    While a Dagster run shows our rooms' records in its own log it prints them as well, so they are
    left to it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_OURS) and _dagster_listens():
            return
        super().emit(record)


def _dagster_listens() -> bool:
    handlers = logging.getLogger(_OURS).handlers
    return any(type(handler).__name__ == "DagsterLogHandler" for handler in handlers)


def _configure_libraries(
    before: Sequence[structlog.typing.Processor],
    last: Sequence[structlog.typing.Processor],
    least: int,
) -> None:
    handler = _Libraries(_ErrorOutput())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for other in [one for one in root.handlers if isinstance(one, _Libraries)]:
        root.removeHandler(other)
    root.addHandler(handler)
    # Libraries repeat at every attempt what we say once: warnings only, and of the pool errors.
    root.setLevel(max(least, logging.WARNING))
    logging.getLogger(_OURS).setLevel(least)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def _renderer(as_json: bool) -> structlog.typing.Processor:
    if as_json:
        return structlog.processors.JSONRenderer(serializer=_as_text)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _as_text(value: Any, **_: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _concealed(_logger: Any, _method: str, line: Any) -> str:
    """The finished line without any secret that this process has read."""
    text = str(line)
    for secret in spoken():
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def _as_json(environ: Mapping[str, str], asked: bool | None) -> bool:
    named = _setting(environ, FORMAT, "auto", FORMATS)
    if named != "auto":
        return named == "json"
    return not sys.stderr.isatty() if asked is None else asked


def _setting(environ: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = environ.get(name, "").strip().lower() or default
    if value not in allowed:
        raise BadLogSetting(
            f"{name} is {value!r}, which is none of {', '.join(allowed)}",
            hint=f"set {name} to one of them, or leave it out.",
        )
    return value
