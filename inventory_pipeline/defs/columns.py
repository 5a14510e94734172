"""Columns of what each asset holds, for Dagster's column pages."""

from collections.abc import Sequence

import dagster as dg

_MOMENT = "timestamp[us, UTC]"

LANDING = (
    ("as_of", _MOMENT, "the moment that the system speaks of"),
    ("item", "string", "the system's own item"),
    ("external_location", "string", "the system's own location"),
    ("sku", "string", "our item"),
    ("location", "string", "our location"),
    ("units_milli", "int64", "base units in one external unit, in thousandths"),
    ("on_hand", "int64", "physically there, in thousandths of the base unit; null: not said"),
    ("damaged", "int64", "part of on_hand that cannot be sold, in thousandths"),
    ("quality_control", "int64", "part of on_hand that is being checked, in thousandths"),
    ("committed", "int64", "promised and not yet shipped, in thousandths"),
    ("reserved", "int64", "soft holds, in thousandths"),
    ("incoming", "int64", "expected, in thousandths"),
    ("held", "bool", "a row of this sku and location is in quarantine: its last value stays"),
)

LEDGER = (
    ("ledger_offset", "bigint", "the one sequence: without gaps, in order of commit"),
    ("kind", "text", "event, snapshot, release, mapping or policy"),
    ("system", "text", "where it comes from"),
    ("event_id", "text", "identifies an event within its system"),
    ("type", "text", "what happened"),
    ("occurred_at", "timestamptz", "when it happened"),
    ("received_at", "timestamptz", "when the hub learned of it"),
    ("item", "text", "the system's own item"),
    ("sku", "text", "our item"),
    ("quantity_milli", "bigint", "thousandths of the base unit"),
    ("location", "text", "our location"),
    ("to_location", "text", "where a transfer goes"),
    ("reference", "text", "purchase order or transfer"),
    ("order_id", "text", "the system's own order"),
    ("line_id", "text", "a line of that order"),
    ("reservation_id", "text", "identifies a soft hold"),
    ("channel", "text", "where it was sold"),
    ("expires_at", "timestamptz", "when a hold ends by itself"),
    ("expected_at", "timestamptz", "when incoming goods are due"),
    ("mapping_version", "integer", "version of catalog/ that mapped it"),
)

POSITIONS = (
    ("sku", "VARCHAR", "our item"),
    ("location", "VARCHAR", "our location"),
    ("on_hand_milli", "BIGINT", "physically there, in thousandths of the base unit"),
    ("damaged_milli", "BIGINT", "part of on_hand that cannot be sold, in thousandths"),
    ("quality_control_milli", "BIGINT", "part of on_hand that is being checked, in thousandths"),
    ("committed_milli", "BIGINT", "promised and not yet shipped, in thousandths"),
    ("reserved_milli", "BIGINT", "soft holds, in thousandths"),
    ("incoming_milli", "BIGINT", "expected, in thousandths"),
    ("on_hand_taken_at", "TIMESTAMP", "as_of of the owner's snapshot of on_hand"),
    ("damaged_taken_at", "TIMESTAMP", "as_of of the owner's snapshot of damaged"),
    ("quality_control_taken_at", "TIMESTAMP", "as_of of the owner's snapshot of quality_control"),
    ("committed_taken_at", "TIMESTAMP", "as_of of the owner's snapshot of committed"),
    ("reserved_taken_at", "TIMESTAMP", "as_of of the owner's snapshot of reserved"),
    ("incoming_taken_at", "TIMESTAMP", "as_of of the owner's snapshot of incoming"),
)

# The waterfall, in the order of its steps (SEMANTICS §6); thousandths of the base unit.
ATS = (
    ("channel", "VARCHAR", "the channel"),
    ("bucket", "VARCHAR", "a place in the channel that has its own quantity"),
    ("sku", "VARCHAR", "our item"),
    ("kind", "VARCHAR", "simple or bundle"),
    ("step_milli", "BIGINT", "the item's smallest step"),
    ("on_hand_milli", "BIGINT", "step 1: over the bucket's locations"),
    ("damaged_milli", "BIGINT", "step 1: subtracted"),
    ("quality_control_milli", "BIGINT", "step 1: subtracted"),
    ("committed_milli", "BIGINT", "step 1: subtracted"),
    ("reserved_milli", "BIGINT", "step 1: subtracted"),
    ("safety_stock_milli", "BIGINT", "step 1: subtracted, by location"),
    ("safety_stock_rules", "VARCHAR", "step 1: the rules that won"),
    ("location_reserve_milli", "BIGINT", "step 1: subtracted, by location"),
    ("location_reserve_rules", "VARCHAR", "step 1: the rules that won"),
    ("sellable_milli", "BIGINT", "step 1: what is left; may be negative"),
    ("unassigned_milli", "BIGINT", "step 2: promised without a location, subtracted"),
    ("network_safety_stock_milli", "BIGINT", "step 2: subtracted"),
    ("network_safety_stock_rule", "VARCHAR", "step 2: the rule that won"),
    ("fulfilment", "VARCHAR", "step 2: same_location or split, of bundles"),
    ("bundle_rule", "VARCHAR", "step 2: the rule that won, of bundles"),
    ("pool_milli", "BIGINT", "step 2: what the bucket's locations offer together"),
    ("protected_for_others_milli", "BIGINT", "step 3: kept for other channels, subtracted"),
    ("protect_rules", "VARCHAR", "step 3: the rules that count"),
    ("after_protect_milli", "BIGINT", "step 4"),
    ("buffer_milli", "BIGINT", "step 5: subtracted"),
    ("buffer_rule", "VARCHAR", "step 5: the rule that won"),
    ("after_buffer_milli", "BIGINT", "step 5: what is left"),
    ("share_millionths", "BIGINT", "step 6: this channel's part, in millionths"),
    ("share_rule", "VARCHAR", "step 6: the rule that won"),
    ("after_share_milli", "BIGINT", "step 6: what is left"),
    ("contract_units_left_milli", "BIGINT", "step 7: left in exclusive contracts"),
    ("contract_rules", "VARCHAR", "step 7: the contracts that count"),
    ("after_contract_milli", "BIGINT", "step 7: what is left"),
    ("backorder_milli", "BIGINT", "step 8: added"),
    ("backorder_rule", "VARCHAR", "step 8: the rule that won"),
    ("after_backorder_milli", "BIGINT", "step 8: with backorders"),
    ("incoming_due_milli", "BIGINT", "step 8: incoming within the horizon"),
    ("preordered_milli", "BIGINT", "step 8: open on preorder lines"),
    ("preorder_limit_milli", "BIGINT", "step 8: the most that may be preordered"),
    ("preorder_rule", "VARCHAR", "step 8: the rule that won"),
    ("after_preorder_milli", "BIGINT", "step 8: with preorders"),
    ("cap_milli", "BIGINT", "step 9: the most that is shown"),
    ("cap_rule", "VARCHAR", "step 9: the rule that won"),
    ("after_cap_milli", "BIGINT", "step 9: after the cap"),
    ("min_display_milli", "BIGINT", "step 9: less than this is shown as 0"),
    ("min_display_rule", "VARCHAR", "step 9: the rule that won"),
    ("after_min_display_milli", "BIGINT", "step 9: after the least display"),
    ("exclude_rule", "VARCHAR", "step 9: the rule that excludes the item"),
    ("after_exclude_milli", "BIGINT", "step 9: after exclusion"),
    ("available_milli", "BIGINT", "step 10: what may be sold, never negative"),
    ("external_id", "VARCHAR", "step 10: the item's first listing"),
    ("units_milli", "BIGINT", "step 10: base units in one unit of that listing"),
    ("desired_milli", "BIGINT", "step 10: thousandths of the channel's own unit"),
    ("policy_version", "INTEGER", "version of hub.yaml behind this row"),
    ("mapping_version", "INTEGER", "version of catalog/ behind this row"),
    ("ledger_offset", "BIGINT", "the ledger offset behind this row"),
    ("computed_at", "TIMESTAMP", "the evaluation time"),
)

PUSH = (
    ("bucket", "text", "a place in the channel that has its own quantity"),
    ("external_id", "text", "the channel's own listing"),
    ("sku", "text", "our item"),
    ("units_milli", "bigint", "base units in one unit of the listing, in thousandths"),
    ("desired_milli", "bigint", "what it is to show, in thousandths of the channel's unit"),
    ("desired_offset", "bigint", "the ledger offset that this comes from"),
    ("base_milli", "bigint", "the newest acknowledged write or reading, in thousandths"),
    ("look", "boolean", "needs a look: may differ from what it shows"),
    ("attempts", "integer", "failed attempts since the last success"),
    ("failure", "text", "how the last attempt failed"),
)

VARIANCES = (
    ("sku", "text", "our item"),
    ("bucket", "text", "a place in the channel"),
    ("external_id", "text", "the channel's own listing"),
    ("system", "text", "the system that differs"),
    ("location", "text", "our location"),
    ("state", "text", "the stock state that differs"),
    ("expected_milli", "bigint", "what must be there, in thousandths"),
    ("found_milli", "bigint", "what is there, in thousandths"),
    ("cause", "text", "the first cause that holds"),
    ("evidence", "jsonb", "events, attempts and times behind the cause"),
    ("first_seen", "timestamptz", "when it was first seen"),
    ("last_seen", "timestamptz", "when it was last seen"),
)


def schema(columns: Sequence[tuple[str, str, str]]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name=name, type=kind, description=description)
            for name, kind, description in columns
        ]
    )
