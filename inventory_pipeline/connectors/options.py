"""Reads a connector's options: each with its type, and a clear message for what is missing, odd or
misspelt.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Opening


class Options:
    """The options of one system, as its connector takes them. Call `finish()` after the last one is
    read.
    """

    def __init__(self, opening: Opening, connector: str) -> None:
        self._options = opening.options
        self._where = f"hub.yaml: systems.{opening.system}.options"
        self._connector = connector
        self._known: set[str] = set()

    def text(self, name: str, default: str | None = None) -> str:
        """A plain text; required where there is no default."""
        value = self._take(name)
        if value is None:
            return self._default(name, default)
        if isinstance(value, Secret):
            return value.reveal()
        if isinstance(value, bool | dict | list) or value == "":
            raise self._wrong(name, "must be a text")
        return str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """One text or a list of them; empty where the option is absent."""
        value = self._take(name)
        if value is None:
            return ()
        values = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(v, str) and v for v in values):
            raise self._wrong(name, "must be a text or a list of texts")
        return tuple(values)

    def names(self, name: str) -> dict[str, str]:
        """A mapping of texts to texts; empty where the option is absent."""
        value = self._take(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(
            isinstance(one, str) and one for one in (*value, *value.values())
        ):
            raise self._wrong(name, "must map names to names, like {on_hand: Qty}")
        return dict(value)

    def secret(self, name: str) -> Secret:
        """A required secret, as `{env: NAME}` or plain text."""
        found = self.secrets(name)
        if len(found) != 1:
            raise self._wrong(name, "is missing" if not found else "must be one secret")
        return found[0]

    def secrets(self, name: str) -> tuple[Secret, ...]:
        """One secret or several (the new and the old one while it is being rotated); may be
        absent.
        """
        value = self._take(name)
        if value is None:
            return ()
        values = value if isinstance(value, list | tuple) else [value]
        secrets = tuple(v if isinstance(v, Secret) else Secret(str(v)) for v in values)
        if not all(secrets):
            raise self._wrong(name, "is empty")
        return secrets

    def number(self, name: str, default: float, *, least: float = 0, most: float = 1e9) -> float:
        """A number between `least` and `most`."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, f"must be a number, not {value!r}")
        if not least <= value <= most:
            raise self._wrong(name, f"must be between {least:g} and {most:g}, not {value!r}")
        return float(value)

    def time(self, name: str) -> datetime | None:
        """A time with an offset, or a bare date (midnight UTC); None where absent."""
        value = self._take(name)
        if value is None:
            return None
        try:
            when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            raise self._wrong(
                name, f"must be a time like 2026-03-02T08:00:00Z, not {value!r}"
            ) from None
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)

    def finish(self, *, one_of: Iterable[str] = ()) -> None:
        """Refuses what nobody read, so that a misspelt option is found; one of `one_of` must be
        there.
        """
        unknown = sorted(set(self._options) - self._known)
        if unknown:
            raise self._wrong(unknown[0], f"is unknown; known are {', '.join(sorted(self._known))}")
        wanted = list(one_of)
        if wanted and not any(self._options.get(name) for name in wanted):
            raise self._wrong(" or ".join(wanted), "is missing")

    def _take(self, name: str) -> Any:
        self._known.add(name)
        return self._options.get(name)

    def _default(self, name: str, default: str | None) -> str:
        if default is None:
            raise self._wrong(name, "is missing")
        return default

    def _wrong(self, name: str, what: str) -> HubError:
        return HubError(
            f"{self._where}.{name} {what}",
            hint=f"docs/connectors.md lists the options of {self._connector}.",
        )
