"""Times at the edge of DuckDB: UTC without a zone inside, timezone-aware outside."""

from datetime import UTC, datetime

import pyarrow as pa


def naive(moment: datetime) -> datetime:
    """The same moment as DuckDB keeps it."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def aware(moment: datetime) -> datetime:
    """A moment that DuckDB gave."""
    return moment.replace(tzinfo=UTC)


def without_zone(table: pa.Table) -> pa.Table:
    """Every timestamp column in microseconds without a zone."""
    return _cast(table, pa.timestamp("us"))


def with_zone(table: pa.Table) -> pa.Table:
    """Every timestamp column in microseconds, UTC."""
    return _cast(table, pa.timestamp("us", tz="UTC"))


def _cast(table: pa.Table, moments: pa.DataType) -> pa.Table:
    fields = [
        pa.field(f.name, moments) if pa.types.is_timestamp(f.type) else f for f in table.schema
    ]
    return table.cast(pa.schema(fields))
