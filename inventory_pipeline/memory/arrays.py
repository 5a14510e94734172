"""Array parameters as Postgres writes them.

A statement for a whole batch takes a dozen of them, and a driver that looks at each element costs
more than the statement.
"""

from collections.abc import Sequence
from datetime import datetime

from inventory_pipeline.memory.postgres import Connection


def texts(values: Sequence[str]) -> str:
    """For a parameter with `::text[]`; its elements may be arrays as these functions write them."""
    joined = '","'.join(values)
    if joined.count('"') != 2 * (len(values) - 1) * bool(values) or "\\" in joined:
        joined = '","'.join([v.replace("\\", "\\\\").replace('"', '\\"') for v in values])
    return f'{{"{joined}"}}' if values else "{}"


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
