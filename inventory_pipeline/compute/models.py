"""Which file of sql/ makes which table, in the order that data flows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

_PARAMETER = re.compile(r"\$([a-z_]+)")
_EMPTY_UNLESS = re.compile(r"^-- Empty unless: (.+(?:\n--   .+)*)$", re.MULTILINE)
_READ = re.compile(r"\b(?:FROM|JOIN)\s+([a-z_]+)")
_NUMBERED = re.compile(r"^\d+_(\w+)\.sql$")
EPHEMERAL, RULES = "Ephemeral.", "Made when rules change."


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One SELECT; `parameters` are the names that it binds, `statement` is what is run for it.

    An ephemeral model makes no table: who reads it has it as a common table expression. One that is
    `of_rules` changes with rules and their dates alone. `empty_unless` is a FROM clause, which may
    bind the same names: where it has no rows the SELECT has none either, and need not be run.
    """

    name: str
    file: str
    sql: str
    statement: str
    parameters: frozenset[str]
    empty_unless: str | None
    ephemeral: bool
    of_rules: bool


@cache
def models() -> dict[str, Model]:
    """Every file of sql/ by the name of the table that it makes, in order of their numbers."""
    found: dict[str, Model] = {}
    for file, name, sql in _files():
        code = _code(sql)
        above = [found[read] for read in found if read in _READ.findall(code)]
        inlined = _inlined(above, found)
        statement = _with(inlined, sql)
        condition = _EMPTY_UNLESS.search(sql)
        found[name] = Model(
            name=name,
            file=file,
            sql=sql,
            statement=statement,
            parameters=frozenset(_PARAMETER.findall(_code(statement))),
            empty_unless=condition and condition[1].replace("\n--", ""),
            ephemeral=EPHEMERAL in sql,
            of_rules=RULES in sql,
        )
    return found


def _files() -> Iterator[tuple[str, str, str]]:
    folder = resources.files("inventory_pipeline") / "sql"
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        numbered = _NUMBERED.match(entry.name)
        if numbered:
            text = entry.read_text(encoding="utf-8").strip().removesuffix(";")
            yield entry.name, numbered[1], text


def _inlined(above: list[Model], found: dict[str, Model]) -> list[Model]:
    """The ephemeral models among `above` and those that they read, first things first."""
    names: set[str] = set()
    waiting = [model for model in above if model.ephemeral]
    while waiting:
        model = waiting.pop()
        names.add(model.name)
        waiting += [
            found[read]
            for read in _READ.findall(_code(model.sql))
            if read in found and found[read].ephemeral and read not in names
        ]
    return [model for name, model in found.items() if name in names]


def _with(inlined: list[Model], sql: str) -> str:
    if not inlined:
        return sql
    tables = ",\n".join(f"{model.name} AS (\n{model.sql}\n)" for model in inlined)
    return f"WITH {tables}\nSELECT * FROM (\n{sql}\n)"


def _code(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql)
