"""Every error that crosses a room's border says the system, the call and what to do next.

HubError
├── ConfigInvalid          the hub folder is wrong: all findings at once
├── PostgresUnavailable    the memory cannot be reached
├── PortTaken
├── SourceError            reading from a system failed
│   ├── SourceUnreachable
│   └── SourceRefused
├── WebhookRefused         a delivery that is not what it says
└── ChannelError           writing to or reading from a channel failed
    ├── ChannelBusy        nothing changed there: send again after `retry_after`
    ├── ChannelRefused     will never succeed as sent
    │   └── AccessRefused  it refuses us, not the item: credentials or rights
    ├── StaleCompare       compare-and-swap failed: read again
    └── OutcomeUnknown     may or may not have been applied: read before writing again
"""

from dataclasses import dataclass


class HubError(Exception):
    """An error with a next step. `str(error)` is one readable paragraph."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  What to do: {hint}" if hint else message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong in the hub folder; `line` is 1-based, 0 where there is none."""

    file: str
    line: int
    message: str
    value: str = ""
    severity: str = "error"  # error | warning

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        shown = f" (found: {self.value})" if self.value else ""
        return f"{place}: {self.message}{shown}"


class ConfigInvalid(HubError):
    """The hub folder cannot be used; `findings` holds everything that is wrong with it."""

    def __init__(self, findings: list[Finding]) -> None:
        lines = "\n".join(str(f) for f in findings)
        super().__init__(
            lines, hint="correct these places; `inventory-pipeline check HUB` looks again."
        )
        self.findings = findings


class PostgresUnavailable(HubError):
    """The memory cannot be reached; nothing that was accepted is lost."""


class PortTaken(HubError):
    """Another process listens on a port that this hub wants."""


class SystemFailure(HubError):
    """An error of one call to one system."""

    def __init__(
        self, message: str, *, system: str, call: str, item: str = "", hint: str = ""
    ) -> None:
        about = f"{system}: {call}" + (f" [{item}]" if item else "")
        super().__init__(f"{about}: {message}", hint=hint)
        self.system = system
        self.call = call
        self.item = item


class SourceError(SystemFailure):
    """Reading from a system failed."""


class SourceUnreachable(SourceError):
    """No usable answer: asked again at the next poll."""


class SourceRefused(SourceError):
    """It answered, and will answer the same again: a person must look."""


class WebhookRefused(SystemFailure):
    """A delivery with a wrong signature, or one that cannot be read. `status` is the HTTP
    answer.
    """

    def __init__(self, message: str, *, system: str, status: int = 401, hint: str = "") -> None:
        super().__init__(message, system=system, call="webhook", hint=hint)
        self.status = status


class ChannelError(SystemFailure):
    """A call to a channel failed."""


class ChannelBusy(ChannelError):
    """Nothing changed there: send the same request again after `retry_after_s` seconds."""

    def __init__(
        self, message: str, *, system: str, call: str, retry_after_s: float, hint: str = ""
    ) -> None:
        super().__init__(message, system=system, call=call, hint=hint)
        self.retry_after_s = retry_after_s


class ChannelRefused(ChannelError):
    """Will never succeed as sent: a person must look."""


class AccessRefused(ChannelRefused):
    """It refuses us, whatever we send: credentials, rights, or an account that was closed."""


class StaleCompare(ChannelError):
    """The compared value is not the channel's any more: read, compute again, new key."""


class OutcomeUnknown(ChannelError):
    """It may or may not have been applied: read before writing again."""
