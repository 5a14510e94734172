"""Which file of sql/ makes which table, in the order that data flows."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_PARAMETER = re.compile(r"\$([a-z_]+)")
_NUMBERED = re.compile(r"^\d+_(\w+)\.sql$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One SELECT; `parameters` are the names that it binds."""

    name: str
    file: str
    sql: str
    parameters: frozenset[str]


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
            found[numbered[1]] = Model(
                name=numbered[1],
                file=entry.name,
                sql=sql,
                parameters=frozenset(_PARAMETER.findall(code)),
            )
    return found
