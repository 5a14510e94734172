"""Column lineage of the derived assets, as Dagster shows it.

Reading sql/ takes about a second, so it stays off the hot path and is kept in the state folder,
beside a hash of sql/; whoever finds the file old makes it again.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.vocabulary import State
from inventory_pipeline.defs import columns, keys

FILE = "column_lineage.json"
COLUMN_LINEAGE = "dagster/column_lineage"
# Group → column → [table of sql/, its column]; only tables that stand for an asset.
Lineage = Mapping[str, Mapping[str, list[list[str]]]]

# Which table of sql/ holds the columns of which group of assets.
MODELS = {"positions": "balances", "ats": "ats", "push": "changes"}
COLUMNS = {"positions": columns.POSITIONS, "ats": columns.ATS, "push": columns.PUSH}
# Columns of the outbox that are named otherwise where they are computed.
RENAMED = {"desired_offset": "ledger_offset"}
# Where a lineage ends: the group that such a table stands for.
ENDS = {
    "events": "ledger",
    "cells": "landing",
    "sweeps": "landing",
    "snapshots": "landing",
    "balances": "positions",
    "offers_now": "ats",
}
LANDED = {f"{state}_milli": str(state) for state in State}


def metadata(asset: dg.AssetKey, hub: Hub, lineage: Lineage) -> dict[str, dg.TableColumnLineage]:
    """Where the columns of `positions`, `ats/*` and `push/*` come from; empty for other assets."""
    found = lineage.get(keys.group(asset))
    if found is None:
        return {}
    shown = dg.TableColumnLineage(
        deps_by_column={
            column: [
                dg.TableColumnDep(asset_key=key, column_name=name)
                for group, name in sources
                for key in _assets(group, hub, asset)
            ]
            for column, sources in found.items()
        }
    )
    return {COLUMN_LINEAGE: shown}


def load(state: Path, *, make: bool) -> Lineage:
    """The kept lineage; if missing or of another sql/, made again or, without `make`, empty."""
    path, wanted = state / FILE, _fingerprint()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["sql"] == wanted:
            found: Lineage = kept["lineage"]
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a cache: whatever is wrong with it, it is made again
    if not make:
        return {}
    found = read_sql()
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(json.dumps({"sql": wanted, "lineage": found}), encoding="utf-8")
    unfinished.replace(path)
    return found


def read_sql() -> Lineage:
    """The lineage as sql/ says it."""
    from inventory_pipeline.defs.sql_columns import Column, direct_sources, sources

    made = direct_sources()
    return {
        group: {
            name: _named(sources(column, stop=ENDS))
            for name, _, _ in COLUMNS[group]
            if (column := Column(table, RENAMED.get(name, name))) in made
        }
        for group, table in MODELS.items()
    }


def _named(found: "frozenset[tuple[str, str]]") -> list[list[str]]:
    """In the words of the assets; tables of the policy are no assets."""
    named = {
        (ENDS[table], LANDED.get(name, name) if ENDS[table] == "landing" else name)
        for table, name in found
        if table in ENDS
    }
    known = {
        "landing": {name for name, _, _ in columns.LANDING},
        "ats": {name for name, _, _ in columns.ATS},
    }
    return [
        [group, name] for group, name in sorted(named) if group not in known or name in known[group]
    ]


def _assets(group: str, hub: Hub, asset: dg.AssetKey) -> list[dg.AssetKey]:
    if group == "landing":
        # Only owners' snapshots become part of a position.
        return [keys.landing(name) for name, system in sorted(hub.systems.items()) if system.owns]
    if group == "ats":
        return [keys.ats(asset.path[-1])]
    return [dg.AssetKey(group)]


def _fingerprint() -> str:
    from inventory_pipeline.compute.models import models

    text = "\n".join(f"{model.name}\n{model.sql}" for model in models().values())
    return hashlib.sha256(text.encode()).hexdigest()
