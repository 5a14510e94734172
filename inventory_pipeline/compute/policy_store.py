"""The policy in the derived store: its tables, and numbers for the names that they hold."""

from inventory_pipeline.compute.database import Database
from inventory_pipeline.compute.policy_tables import policy_tables
from inventory_pipeline.compute.tables import NUMBERED, NUMBERS
from inventory_pipeline.config.policy import Hub

# A change of these moves positions; of those, listings. Whatever else changes are rules.
OF_POSITIONS = {
    "systems": "*",
    "owned": "*",
    "components": "*",
    "items": "sku, kind, step_milli",
}
OF_LISTINGS = {
    "items": "sku",
    "channels": "channel, step_milli",
    "buckets": "channel, bucket, bucket_external, active",
    "listings": "channel, sku, external_id, units_milli",
}


def replace_policy(db: Database, hub: Hub) -> frozenset[str]:
    """Puts the tables of `hub` in place of those that are there; returns the names of the changed.

    Raises ConfigInvalid for a number that is finer than the hub keeps.
    """
    changed = set()
    for name, table in policy_tables(hub).items():
        watched = {OF_POSITIONS.get(name), OF_LISTINGS.get(name)} - {None}
        if watched:
            db.run(f"CREATE OR REPLACE TEMP TABLE before AS SELECT * FROM {name}")
        db.replace("incoming_policy", table)
        _number(db, name)
        db.run(f"DELETE FROM {name}")
        db.run(f"INSERT INTO {name} BY NAME {_numbered(name)}")
        for columns in watched:
            if _differ(db, name, str(columns)):
                changed.add(f"{name}({columns})")
    return frozenset(changed)


def concerns(changed: frozenset[str], tables: dict[str, str]) -> bool:
    """Whether one of the changes that `replace_policy` found is among `tables`."""
    return any(f"{name}({columns})" in changed for name, columns in tables.items())


def _number(db: Database, name: str) -> None:
    if name == "owned":
        give_numbers(db, "locations", "incoming_policy", ("location",))
    elif name in NUMBERED:
        numbers, names = NUMBERED[name]
        give_numbers(db, numbers, "incoming_policy", names)


def give_numbers(db: Database, numbers: str, source: str, names: tuple[str, ...]) -> None:
    """Numbers for the names in `source` (a FROM clause) that have none yet, from 1, in order."""
    same = " AND ".join(f"n.{name} = i.{name}" for name in names)
    listed = ", ".join(names)
    number = next(column for column in NUMBERS[numbers] if column not in names)
    db.run(
        f"INSERT INTO {numbers} BY NAME SELECT {listed},"
        f" (SELECT coalesce(max({number}), 0) FROM {numbers})"
        f" + row_number() OVER (ORDER BY {listed}) AS {number}"
        f" FROM (SELECT DISTINCT {listed} FROM {source}) i"
        f" ANTI JOIN {numbers} n ON {same}",
    )


def _numbered(name: str) -> str:
    if name not in NUMBERED:
        return "SELECT * FROM incoming_policy"
    numbers, names = NUMBERED[name]
    return f"SELECT * FROM incoming_policy JOIN {numbers} USING ({', '.join(names)})"


def _differ(db: Database, name: str, columns: str) -> bool:
    one, other = f"SELECT {columns} FROM before", f"SELECT {columns} FROM {name}"
    return db.any(f"(({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one}))")
