"""Asset keys, groups and the names that Dagster derives from a hub's own ids."""

import re

import dagster as dg

LEDGER = dg.AssetKey("ledger")
POSITIONS = dg.AssetKey("positions")
HEALTH = dg.AssetKey("health")
RECONCILE_LEDGER = dg.AssetKey(["reconcile", "ledger"])
RECONCILE_SYSTEMS = dg.AssetKey(["reconcile", "systems"])

# Two comparisons of a whole hub have the names that channels would have.
RESERVED_CHANNEL_IDS = frozenset({"ledger", "systems"})

SYNC = "sync"
LAND = "land"
RECONCILE = "reconcile"
HEAL = "heal"
REBUILD = "rebuild"

SYSTEM_TAG = "hub/system"
MODE_TAG = "hub/mode"
REASON_TAG = "hub/reason"
JOB_TAG = "hub/job"
# Stands in SYSTEM_TAG for the deliveries of all systems; no system can have this id.
INBOX = "(inbox)"


def landing(system: str) -> dg.AssetKey:
    return dg.AssetKey(["landing", system])


def ats(channel: str) -> dg.AssetKey:
    return dg.AssetKey(["ats", channel])


def push(channel: str) -> dg.AssetKey:
    return dg.AssetKey(["push", channel])


def reconcile(channel: str) -> dg.AssetKey:
    return dg.AssetKey(["reconcile", channel])


def group(key: dg.AssetKey) -> str:
    """The first part of a key: all assets of one kind stand in one group."""
    return key.path[0]


def safe(text: str) -> str:
    """`text` as a Dagster name: letters, digits, underscores; the rest as its number."""
    return re.sub(r"[^A-Za-z0-9_]", lambda found: f"_{ord(found.group()):x}_", text)


def op_name(key: dg.AssetKey) -> str:
    """The name of the op behind an asset."""
    return "__".join(safe(part) for part in key.path)
