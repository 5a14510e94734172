"""The derived store's tables: deleted at will, computed again (architecture: one sequence).

Quantities end in `_milli`: thousandths of the base unit, in `desired` of the channel's unit. Times
are UTC without a zone inside DuckDB, so that no extension is needed to add a duration to one.
"""

import pyarrow as pa

# Another number here means: the file was made by another version, and is made again.
SCHEMA_VERSION = 4

STATES = ("on_hand", "damaged", "quality_control", "committed", "reserved", "incoming")

EVENT_TYPES = {
    "ledger_offset": "BIGINT",
    "system": "VARCHAR",
    "event_id": "VARCHAR",
    "type": "VARCHAR",
    "occurred_at": "TIMESTAMP",
    "received_at": "TIMESTAMP",
    "item": "VARCHAR",
    "sku": "VARCHAR",
    "quantity_milli": "BIGINT",
    "location": "VARCHAR",
    "to_location": "VARCHAR",
    "reference": "VARCHAR",
    "order_id": "VARCHAR",
    "line_id": "VARCHAR",
    "reservation_id": "VARCHAR",
    "channel": "VARCHAR",
    "expires_at": "TIMESTAMP",
    "expected_at": "TIMESTAMP",
    "disposition": "VARCHAR",
    "reason": "VARCHAR",
}

_ARROW = {
    "BIGINT": pa.int64(),
    "VARCHAR": pa.string(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}
EVENTS_SCHEMA = pa.schema([(name, _ARROW[kind]) for name, kind in EVENT_TYPES.items()])


def _columns(types: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


_STATE_MILLI = {f"{state}_milli": "BIGINT" for state in STATES}
_STATE_CARRIED = dict.fromkeys(STATES, "BOOLEAN")

# What came in.
SOURCES = {
    "events": EVENT_TYPES,
    "snapshots": {
        "ledger_offset": "BIGINT",
        "system": "VARCHAR",
        "as_of": "TIMESTAMP",
        "source": "VARCHAR",
        "complete": "BOOLEAN",
    },
    # One row a snapshot, item and location; a null state means: its value stays.
    "cells": {
        "ledger_offset": "BIGINT",
        "system": "VARCHAR",
        "as_of": "TIMESTAMP",
        "source": "VARCHAR",
        "item_no": "INTEGER",
        "location": "VARCHAR",
        **_STATE_MILLI,
    },
    # One row a complete snapshot and location: the states of which it says 0 where it is silent.
    "sweeps": {
        "ledger_offset": "BIGINT",
        "system": "VARCHAR",
        "as_of": "TIMESTAMP",
        "source": "VARCHAR",
        "location": "VARCHAR",
        **_STATE_CARRIED,
    },
}

# Numbers for names, given once and never again: stock is kept as lists by the number of a location.
NUMBERS = {
    "item_numbers": {"sku": "VARCHAR", "item_no": "INTEGER"},
    "locations": {"location": "VARCHAR", "location_no": "BIGINT"},
    "bucket_numbers": {"channel": "VARCHAR", "bucket": "VARCHAR", "bucket_no": "SMALLINT"},
}

# What a run leaves behind.
STATE = {
    "meta": {
        "fingerprint": "VARCHAR",
        "ledger_offset": "BIGINT",
        "computed_at": "TIMESTAMP",
        "policy_version": "INTEGER",
        "mapping_version": "INTEGER",
        "policy_hash": "VARCHAR",
        "catalog_hash": "VARCHAR",
        "ruled_at": "TIMESTAMP",
    },
    # Positions, one row an item: element n of a list is location n (41_stock_rows).
    "stock": {
        "item_no": "INTEGER",
        "net_milli": "BIGINT[]",
        "location_nos": "BIGINT[]",
    },
    # Goods on their way, where there are any.
    "expected": {"item_no": "INTEGER", "location": "VARCHAR", "incoming_milli": "BIGINT"},
    # Where less than nothing lies.
    "below_zero": {"sku": "VARCHAR", "location": "VARCHAR", "on_hand_milli": "BIGINT"},
    # What each bucket may sell of each item, in thousandths of the base unit: one row an item.
    "offers": {
        "item_no": "INTEGER",
        "buckets": "STRUCT(bucket_no SMALLINT, available_milli BIGINT)[]",
    },
    # The columns of each model, so that one that would be empty need not be run.
    "shapes": {"model": "VARCHAR", "columns": "VARCHAR"},
    "wakeups": {"due_at": "TIMESTAMP", "sku": "VARCHAR"},
    "last_blindness": {"channel": "VARCHAR", "bucket": "VARCHAR", "quarters": "BIGINT"},
    "pending": {
        "channel": "VARCHAR",
        "bucket": "VARCHAR",
        "bucket_external": "VARCHAR",
        "external_id": "VARCHAR",
        "sku": "VARCHAR",
        "units_milli": "BIGINT",
        "desired_milli": "BIGINT",
        "ledger_offset": "BIGINT",
        "occurred_at": "TIMESTAMP",
        "received_at": "TIMESTAMP",
        "caused_by": "BIGINT",
        "listed": "BOOLEAN",
    },
}

# The policy as tables (policy_tables.py fills them).
POLICY = {
    "systems": {"system": "VARCHAR", "counts_orders": "BOOLEAN"},
    "owned": {
        "location": "VARCHAR",
        **{f"{state}_system": "VARCHAR" for state in STATES},
        **{f"{state}_lag_us": "BIGINT" for state in STATES},
    },
    "items": {
        "item_no": "INTEGER",
        "sku": "VARCHAR",
        "kind": "VARCHAR",
        "step_milli": "BIGINT",
        "profile": "INTEGER",
    },
    # What bundles are made of, nested ones flattened.
    "components": {"sku": "VARCHAR", "component": "VARCHAR", "quantity_milli": "BIGINT"},
    "channels": {"channel": "VARCHAR", "mode": "VARCHAR", "step_milli": "BIGINT"},
    "buckets": {
        "bucket_no": "SMALLINT",
        "channel": "VARCHAR",
        "bucket": "VARCHAR",
        "bucket_external": "VARCHAR",
        "active": "BOOLEAN",
    },
    "bucket_locations": {"channel": "VARCHAR", "bucket": "VARCHAR", "location": "VARCHAR"},
    "listings": {
        "channel": "VARCHAR",
        "item_no": "INTEGER",
        "sku": "VARCHAR",
        "external_id": "VARCHAR",
        "units_milli": "BIGINT",
    },
    "first_listings": {
        "channel": "VARCHAR",
        "sku": "VARCHAR",
        "external_id": "VARCHAR",
        "units_milli": "BIGINT",
    },
    "rules": {
        "rule_no": "INTEGER",
        "rule": "VARCHAR",
        "slot": "VARCHAR",
        "priority": "INTEGER",
        "from_at": "TIMESTAMP",
        "until_at": "TIMESTAMP",
        "for_channel": "VARCHAR",
        "exclusive": "BOOLEAN",
        "has_locations": "BOOLEAN",
        "units_milli": "BIGINT",
        "percent_millionths": "BIGINT",
        "limit_milli": "BIGINT",
        "horizon_us": "BIGINT",
        "fulfilment": "VARCHAR",
        "auto_factor_millionths": "BIGINT",
        "auto_max_milli": "BIGINT",
        "auto_window_us": "BIGINT",
    },
    "rule_profiles": {"rule_no": "INTEGER", "profile": "INTEGER", "sku_rank": "INTEGER"},
    "rule_buckets": {
        "rule_no": "INTEGER",
        "channel": "VARCHAR",
        "bucket": "VARCHAR",
        "channel_rank": "INTEGER",
    },
    "rule_locations": {"rule_no": "INTEGER", "location": "VARCHAR"},
}


# Which numbers a policy table takes in beside its own names.
NUMBERED = {
    "items": ("item_numbers", ("sku",)),
    "listings": ("item_numbers", ("sku",)),
    "buckets": ("bucket_numbers", ("channel", "bucket")),
}
_GIVEN = ("item_no", "bucket_no")


def ddl() -> list[str]:
    """One CREATE TABLE a table; what is shaped by its SELECT is created by the first run."""
    tables = {**SOURCES, **NUMBERS, **STATE, **POLICY}
    return [f"CREATE TABLE {name} ({_columns(types)})" for name, types in tables.items()]


def arrow_schema(name: str) -> pa.Schema:
    """The Arrow schema of a policy table without given numbers; times without a zone."""
    arrow = {
        **_ARROW,
        "TIMESTAMP": pa.timestamp("us"),
        "BOOLEAN": pa.bool_(),
        "INTEGER": pa.int32(),
    }
    return pa.schema(
        [(column, arrow[kind]) for column, kind in POLICY[name].items() if column not in _GIVEN]
    )
