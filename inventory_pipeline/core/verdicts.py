"""What a check decided, however it is shown afterwards: in Dagster, on a page, as an alert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Number = int | float


class Level(StrEnum):
    GOOD = "good"
    WARNING = "warning"  # it counts, and somebody should look
    ERROR = "error"  # numbers are wrong, late or held until somebody acts


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows that matter most, as text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of a check: one sentence, numbers by name, and tables of the worst rows by
    name.
    """

    level: Level
    description: str
    numbers: Mapping[str, Number] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.level is Level.GOOD
