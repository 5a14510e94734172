"""Array parameters as Postgres writes them.

A statement for a whole batch takes a dozen of them, and a driver that looks at each element costs
more than the statement.
"""

from collections.abc import Sequence
from datetime import datetime

from inventory_pipeline.memory.postgres import Connection


def texts(values: Sequence[str]) -> str | list[str]:
    """For a parameter with `::text[]`."""
    joined = '","'.join(values)
    if joined.count('"') != 2 * (len(values) - 1) * bool(values) or "\\" in joined:
        return list(values)  # something is to be quoted: the driver knows how
    return f'{{"{joined}"}}' if values else "{}"


def text_array(values: Sequence[str]) -> str:
    """The same where the array is itself an element of a parameter, and a text there."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join([f'"{value}"' for value in quoted]) + "}"


def numbers(values: Sequence[int]) -> str:
    """For a parameter with `::bigint[]` or `::integer[]`."""
    return f"{{{','.join(map(str, values))}}}"


def flags(values: Sequence[bool]) -> str:
    """For a parameter with `::boolean[]`."""
    return f"{{{','.join(['t' if value else 'f' for value in values])}}}"


def moments(values: Sequence[datetime | None]) -> str:
    """For a parameter with `::timestamptz[]`; a moment needs its offset from UTC."""
    return f"{{{','.join([_moment(value) for value in values])}}}"


def join_by_index(connection: Connection) -> None:
    """For the rest of this transaction: a batch's rows are found one by one in an index.

    Postgres takes an array for a thousand rows or a hundred, whatever it has, and reads the whole
    table for it.
    """
    connection.execute(
        "SELECT set_config('enable_hashjoin', 'off', true),"
        " set_config('enable_mergejoin', 'off', true)"
    )


def _moment(value: datetime | None) -> str:
    return "NULL" if value is None else f'"{value.isoformat()}"'
