"""`inventory-pipeline activate`: what a changed hub folder would change, and making it count."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inventory_pipeline.config.load import load_hub
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.ports import Clock
from inventory_pipeline.flow.activate import Change, activate, changes, restructured
from inventory_pipeline.flow.context import connect, hub_of
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import audit, versions
from inventory_pipeline.memory.postgres import Connection, Postgres, migrate


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """Versions of rules and catalogue before and now (0: none before), and what differs.

    `restructured`: channels or systems differ, so Dagster's definitions are to be loaded again.
    With a dry run the versions now are those before.
    """

    policy_before: int
    mapping_before: int
    policy_version: int
    mapping_version: int
    changes: Sequence[Change]
    restructured: bool

    @property
    def changed(self) -> bool:
        """Something counts now that did not."""
        return (self.policy_before, self.mapping_before) != (
            self.policy_version,
            self.mapping_version,
        )


def activate_folder(
    folder: Path,
    state: Path,
    url: str,
    *,
    by: str,
    dry_run: bool = False,
    clock: Clock = utc_now,
) -> Activated:
    """Checks the folder and makes it count from the next ledger offset on, all of it or nothing.

    Raises ConfigInvalid with every finding, or PostgresUnavailable; nothing is changed then.
    """
    hub = load_hub(folder)
    connectors = connect(hub, None)
    for connector in connectors.values():
        connector.close()
    migrate(url)
    pg = Postgres(url, max_connections=1)
    try:
        with pg.connection() as connection:
            return _activate(connection, hub, folder, state, by=by, dry_run=dry_run, clock=clock)
    finally:
        pg.close()


def _activate(
    connection: Connection,
    hub: Hub,
    folder: Path,
    state: Path,
    *,
    by: str,
    dry_run: bool,
    clock: Clock,
) -> Activated:
    held = versions.newest(connection)
    before = versions.active(connection)
    found: list[Change] = []
    rebuilt = True
    if before is not None:
        old = hub_of(before, folder, secrets=False)
        found = changes(old, hub)
        rebuilt = restructured(old, hub)
    policy, mapping = held.policy_version, held.mapping_version
    if not dry_run:
        done = activate(connection, hub, folder, state, by=by, at=clock())
        policy, mapping = done.policy_version, done.mapping_version
        if (policy, mapping) != (held.policy_version, held.mapping_version):
            audit.record(
                connection,
                by=by,
                action="policy.activate",
                subject=hub.name,
                detail={
                    "policy_version": policy,
                    "mapping_version": mapping,
                    "changes": [f"{one.what} {one.name}: {one.text}" for one in found],
                },
                at=clock(),
            )
    return Activated(
        policy_before=held.policy_version,
        mapping_before=held.mapping_version,
        policy_version=policy,
        mapping_version=mapping,
        changes=found,
        restructured=rebuilt,
    )
