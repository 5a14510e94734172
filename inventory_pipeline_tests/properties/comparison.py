"""The numbers that are compared, each under its name, as SQL and as the reference give them."""

from fractions import Fraction

from inventory_pipeline_tests.properties.reference_stock import STATES

SHOWN = 12
TERMS = {
    "pool_milli": "pool",
    "protected_for_others_milli": "protected_for_others",
    "after_protect_milli": "after_protect",
    "buffer_milli": "buffer",
    "after_share_milli": "after_share",
    "after_contract_milli": "after_contract",
    "after_preorder_milli": "after_preorder",
    "available_milli": "available",
    "desired_milli": "shown",
}
PROMISES = {
    "shipped_milli": "shipped",
    "shipped_any_milli": "shipped_any",
    "awaiting_shipment_proof_milli": "awaiting",
    "open_milli": "open",
}


def require_same(sql, reference):
    """Raises AssertionError with the numbers that differ."""
    named = differences(sql, reference)
    if named:
        more = [f"and {len(named) - SHOWN} more"] if len(named) > SHOWN else []
        raise AssertionError("\n".join(["SQL differs:", *named[:SHOWN], *more]))


def differences(sql, reference):
    """Each number that differs, named: what SQL says, and what it should be."""
    return [
        f"{' '.join(map(str, key))}: {float(sql.get(key, 0)):g},"
        f" and the reference says {float(reference.get(key, 0)):g}"
        for key in sorted({*sql, *reference})
        if sql.get(key, 0) != reference.get(key, 0)
    ]


def sql_positions(state):
    return {
        (s, row["sku"], row["location"]): Fraction(row[f"{s}_milli"], 1000)
        for row in state["positions"]
        for s in STATES
        if row[f"{s}_milli"]
    }


def sql_lines(bench):
    return {
        (row["system"], row["order_id"], row["line_id"], row["sku"], term): Fraction(
            row[column], 1000
        )
        for row in bench.engine.order_lines().to_pylist()
        for column, term in PROMISES.items()
    }


def promises(reference):
    return {
        (line.system, line.order_id, line.line_id, line.sku, term): getattr(line, term)
        for line in reference.stock.lines
        for term in PROMISES.values()
    }


def sql_terms(state):
    return {
        (row["channel"], row["bucket"], row["sku"], term): Fraction(row[column], 1000)
        for row in state["ats"]
        for column, term in TERMS.items()
    } | {(row["channel"], row["bucket"], row["sku"], "rows"): 1 for row in state["ats"]}


def terms(reference):
    found = {}
    for key, waterfall in reference.channels().items():
        found |= {(*key, term): getattr(waterfall, term) for term in TERMS.values()}
        found[*key, "rows"] = 1
    return found
