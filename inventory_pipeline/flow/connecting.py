"""The hub's connectors, built from its folder alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from inventory_pipeline.config.policy import Hub
from inventory_pipeline.connectors import build
from inventory_pipeline.core.errors import Finding, HubError
from inventory_pipeline.core.limits import Limiter
from inventory_pipeline.core.ports import Clock, Connector, Doubting, Opening, Write
from inventory_pipeline.core.vocabulary import Mode

# More pages than any feed has: one that does not end is told from a long one.
MAX_PAGES = 100_000


def build_connectors(
    hub: Hub,
    limiter_of: Callable[[str], Limiter] | None = None,
    clock: Clock | None = None,
) -> dict[str, Connector]:
    """One connector a system; building does no I/O.

    `limiter_of` gives a system's limiter: of a hub that runs, the one that all its processes share
    (memory.limits.SharedLimits); without it every process counts for itself. `clock` is the hub's.
    """
    return {
        system.id: build(
            Opening(
                system=system.id,
                options=system.options,
                hub_folder=str(hub.folder),
                external_ids=external_ids(hub, system.id),
                limiter=limiter_of(system.id) if limiter_of else None,
                clock=clock,
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
