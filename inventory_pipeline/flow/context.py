"""A hub that is open for work: its policy, its memory, its connectors and its clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inventory_pipeline.config.load import catalog_files, load_hub
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import ConfigInvalid
from inventory_pipeline.core.ports import Clock, Connector
from inventory_pipeline.flow.connecting import build_connectors, capability_findings
from inventory_pipeline.flow.repeats import Repeats
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import versions
from inventory_pipeline.memory.postgres import Postgres, migrate


@dataclass(frozen=True, slots=True, kw_only=True)
class HubContext:
    """Everything that a verb needs. `state` is the state folder (README: where things are kept)."""

    hub: Hub
    pg: Postgres
    state: Path
    clock: Clock
    connectors: Mapping[str, Connector]
    policy_version: int
    mapping_version: int
    repeats: Repeats = field(default_factory=Repeats)

    @property
    def duckdb_path(self) -> Path:
        return self.state / "hub.duckdb"

    def close(self) -> None:
        for connector in self.connectors.values():
            connector.close()
        self.pg.close()


def open_context(
    folder: Path, state: Path, url: str, clock: Clock = utc_now, *, activated_by: str = "start"
) -> HubContext:
    """Loads the hub folder, migrates the memory, and activates a changed policy or catalogue.

    What a changed catalogue maps otherwise is mapped again (flow/remap.py).

    Raises ConfigInvalid with every finding, or PostgresUnavailable.
    """
    hub = load_hub(folder)
    connectors = build_connectors(hub)
    if findings := capability_findings(hub, connectors):
        raise ConfigInvalid(findings)
    state.mkdir(parents=True, exist_ok=True)
    migrate(url)
    pg = Postgres(url)
    try:
        policy_version, mapping_version = _activate(
            pg, hub, folder, state, clock, activated_by=activated_by
        )
    except BaseException:
        pg.close()
        raise
    return HubContext(
        hub=hub,
        pg=pg,
        state=state,
        clock=clock,
        connectors=connectors,
        policy_version=policy_version,
        mapping_version=mapping_version,
    )


def _activate(
    pg: Postgres, hub: Hub, folder: Path, state: Path, clock: Clock, *, activated_by: str
) -> tuple[int, int]:
    """The versions of hub.yaml and of catalog/ that count from now on."""
    with pg.connection() as connection:
        mapping = versions.activate_mapping(
            connection, content_hash=hub.catalog_hash, files=catalog_files(folder), at=clock()
        )
        if mapping.ledger_offset is not None:
            from inventory_pipeline.flow.remap import remap

            remap(connection, hub, state, mapping, at=clock())
        policy_version = versions.activate_policy(
            connection,
            content_hash=hub.policy_hash,
            content=(folder / "hub.yaml").read_text(encoding="utf-8"),
            activated_by=activated_by,
            mapping_version=mapping.version,
            at=clock(),
        )
    return policy_version, mapping.version
