"""Which file of sql/ makes which table, in the order that data flows."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_PARAMETER = re.compile(r"\$([a-z_]+)")
_EMPTY_UNLESS = re.compile(r"^-- Empty unless: (.+)$", re.MULTILINE)
_NUMBERED = re.compile(r"^\d+_(\w+)\.sql$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One SELECT; `parameters` are the names that it binds.

    `empty_unless` is a FROM clause: where it has no rows the SELECT has none either, and need not
    be run.
    """

    name: str
    file: str
    sql: str
    parameters: frozenset[str]
    empty_unless: str | None


@cache
def models() -> dict[str, Model]:
    """Every file of sql/ by the name of the table that it makes, in order of their numbers."""
    folder = resources.files("inventory_pipeline") / "sql"
    found = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        numbered = _NUMBERED.match(entry.name)
        if numbered:
            sql = entry.read_text(encoding="utf-8").strip().removesuffix(";")
            code = re.sub(r"--[^\n]*", "", sql)
            condition = _EMPTY_UNLESS.search(sql)
            found[numbered[1]] = Model(
                name=numbered[1],
                file=entry.name,
                sql=sql,
                parameters=frozenset(_PARAMETER.findall(code)),
                empty_unless=condition and condition[1],
            )
    return found
