"""A hub that is open for work: its policy, its memory, its connectors and its clock."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from inventory_pipeline.config.load import catalog_files, load_hub
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.connectors import build
from inventory_pipeline.core.errors import ConfigInvalid, Finding, HubError
from inventory_pipeline.core.ports import Clock, Connector, Doubting, Opening, Write
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.repeats import Repeats
from inventory_pipeline.memory import versions
from inventory_pipeline.memory.postgres import Postgres, migrate


def utc_now() -> datetime:
    """The one clock of a running hub; everything else is given the time."""
    return datetime.now(UTC)


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


def build_connectors(hub: Hub) -> dict[str, Connector]:
    """One connector a system; building does no I/O."""
    return {
        system.id: build(
            Opening(
                system=system.id,
                options=system.options,
                hub_folder=str(hub.folder),
                external_ids=external_ids(hub, system.id),
            ),
            system.connector,
        )
        for system in hub.systems.values()
    }


def connector_findings(hub: Hub) -> list[Finding]:
    """What keeps the hub's connectors from being built or from doing what its channels ask; where
    nothing does, warnings about what they find odd.
    """
    try:
        connectors = build_connectors(hub)
    except HubError as error:
        return [Finding(file="hub.yaml", line=0, message=str(error))]
    return capability_findings(hub, connectors) or [
        Finding(file="hub.yaml", line=0, message=doubt, severity="warning")
        for doubt in doubts(connectors.values())
    ]


def doubts(connectors: Iterable[Connector]) -> Iterator[str]:
    """What the connectors find odd about their options, as globs that no file matches."""
    for connector in connectors:
        if isinstance(connector, Doubting):
            yield from connector.doubts()


def capability_findings(hub: Hub, connectors: Mapping[str, Connector]) -> list[Finding]:
    """Channels that ask more of their system than its connector can do."""
    return [
        Finding(
            file="hub.yaml",
            line=0,
            message=f"channel {channel.id} is {channel.mode}, but its system {channel.system} "
            f"(connector {hub.systems[channel.system].connector}) cannot be written to: "
            "set mode: shadow",
        )
        for channel in hub.channels.values()
        if channel.mode in {Mode.LIVE, Mode.CANARY}
        and connectors[channel.system].capabilities.write is Write.NONE
    ]


def external_ids(hub: Hub, system: str) -> frozenset[str]:
    """What the system calls our items: its rows in identifiers.csv, and skus without one there."""
    rows = [row for row in hub.catalog.identifiers if row.system == system]
    unmapped = hub.catalog.items.keys() - {row.sku for row in rows}
    return frozenset({row.external_id for row in rows} | unmapped)
