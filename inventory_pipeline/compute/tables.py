"""The derived store's tables: deleted at will, computed again (architecture: one sequence).

Quantities end in `_milli`: thousandths of the base unit, in `desired` of the channel's unit. Times
are UTC without a zone inside DuckDB, so that no extension is needed to add a duration to one.
"""

import pyarrow as pa

# Another number here means: the file was made by another version, and is made again.
SCHEMA_VERSION = 1

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
    # One row a snapshot, sku and location; a null state means: its value stays.
    "cells": {
        "ledger_offset": "BIGINT",
        "system": "VARCHAR",
        "as_of": "TIMESTAMP",
        "source": "VARCHAR",
        "sku": "VARCHAR",
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

# What a run leaves behind beside the tables that are shaped by their SELECT (`MODELLED`).
STATE = {
    "meta": {
        "fingerprint": "VARCHAR",
        "ledger_offset": "BIGINT",
        "computed_at": "TIMESTAMP",
        "policy_version": "INTEGER",
        "mapping_version": "INTEGER",
        "policy_hash": "VARCHAR",
        "catalog_hash": "VARCHAR",
    },
    # The columns of each model, so that one that would be empty need not be run.
    "shapes": {"model": "VARCHAR", "columns": "VARCHAR"},
    "wakeups": {"due_at": "TIMESTAMP", "sku": "VARCHAR"},
    "last_blindness": {"channel": "VARCHAR", "bucket": "VARCHAR", "quarters": "BIGINT"},
    "desired": {
        "channel": "VARCHAR",
        "bucket": "VARCHAR",
        "bucket_external": "VARCHAR",
        "external_id": "VARCHAR",
        "sku": "VARCHAR",
        "units_milli": "BIGINT",
        "desired_milli": "BIGINT",
    },
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
        "sku": "VARCHAR",
        "kind": "VARCHAR",
        "step_milli": "BIGINT",
        "profile": "INTEGER",
    },
    # A simple item contains itself once; a bundle its parts, nested ones flattened.
    "explosion": {"sku": "VARCHAR", "component": "VARCHAR", "quantity_milli": "BIGINT"},
    "channels": {"channel": "VARCHAR", "mode": "VARCHAR", "step_milli": "BIGINT"},
    "buckets": {
        "channel": "VARCHAR",
        "bucket": "VARCHAR",
        "bucket_external": "VARCHAR",
        "active": "BOOLEAN",
    },
    "bucket_locations": {"channel": "VARCHAR", "bucket": "VARCHAR", "location": "VARCHAR"},
    "listings": {
        "channel": "VARCHAR",
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


def ddl() -> list[str]:
    """One CREATE TABLE a table; what is shaped by its SELECT is created by the first run."""
    tables = {**SOURCES, **STATE, **POLICY}
    return [f"CREATE TABLE {name} ({_columns(types)})" for name, types in tables.items()]


def arrow_schema(name: str) -> pa.Schema:
    """The Arrow schema of a policy table; times without a zone, as they are stored."""
    arrow = {
        **_ARROW,
        "TIMESTAMP": pa.timestamp("us"),
        "BOOLEAN": pa.bool_(),
        "INTEGER": pa.int32(),
    }
    return pa.schema([(column, arrow[kind]) for column, kind in POLICY[name].items()])
