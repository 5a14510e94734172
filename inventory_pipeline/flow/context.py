"""A hub that is open for work: its policy, its memory, its connectors and its clock."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from inventory_pipeline.config.load import check_texts, load_hub
from inventory_pipeline.config.policy import Guard, Hub
from inventory_pipeline.core.errors import ConfigInvalid, HubError
from inventory_pipeline.core.guard import Tally
from inventory_pipeline.core.ports import Clock, Connector
from inventory_pipeline.core.vocabulary import Mode
from inventory_pipeline.flow.activate import activate
from inventory_pipeline.flow.connecting import build_connectors, capability_findings
from inventory_pipeline.flow.modes import parsed, with_overrides
from inventory_pipeline.flow.moments import AnyEnvironment
from inventory_pipeline.flow.repeats import Repeats
from inventory_pipeline.flow.times import utc_now
from inventory_pipeline.memory import versions
from inventory_pipeline.memory.correlation import Known
from inventory_pipeline.memory.limits import SharedLimits
from inventory_pipeline.memory.postgres import Connection, Postgres, migrate
from inventory_pipeline.memory.versions import Active, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class HubContext:
    """Everything that a verb needs. `state` is the state folder (README: where things are kept).

    `hub` has the modes that count now; `written` is the hub as hub.yaml says it, where people have
    set modes below that.
    """

    hub: Hub
    pg: Postgres
    state: Path
    clock: Clock
    connectors: Mapping[str, Connector]
    policy_version: int
    mapping_version: int
    overrides: str = ""
    written: Hub | None = None
    limits: SharedLimits | None = None
    repeats: Repeats = field(default_factory=Repeats)
    tallies: dict[tuple[str, Guard], Tally] = field(default_factory=dict)
    correlations: Known = field(default_factory=Known)

    @property
    def duckdb_path(self) -> Path:
        return self.state / "hub.duckdb"

    @property
    def settings(self) -> Settings:
        """What this context was opened with."""
        return Settings(
            policy_version=self.policy_version,
            mapping_version=self.mapping_version,
            overrides=self.overrides,
        )

    @property
    def as_written(self) -> Hub:
        """The hub with hub.yaml's own modes."""
        return self.written or self.hub

    @property
    def stopped(self) -> frozenset[str]:
        """Channels that a person has switched off: nothing is sent, recorded or compared."""
        return frozenset(name for name, mode in parsed(self.overrides).items() if mode is Mode.OFF)

    def disconnect(self) -> None:
        """Closes the connectors; the memory stays open."""
        for connector in self.connectors.values():
            connector.close()

    def close(self) -> None:
        self.disconnect()
        if self.limits is not None:
            self.limits.close()
        self.pg.close()


def open_context(
    folder: Path,
    state: Path,
    url: str,
    clock: Clock = utc_now,
    *,
    activated_by: str = "start",
    activate_changes: bool = True,
) -> HubContext:
    """Loads the hub, migrates the memory, and activates a changed policy or catalogue.

    Without `activate_changes` the hub is as it was activated last, whatever its folder says by
    now; the folder counts only where nothing was ever activated.

    Raises ConfigInvalid with every finding, or PostgresUnavailable.
    """
    hub = load_hub(folder) if activate_changes else None
    limits = SharedLimits(url)
    if hub is not None:
        connect(hub, None)  # says what is wrong before anything is touched
    state.mkdir(parents=True, exist_ok=True)
    migrate(url)
    pg = Postgres(url)
    try:
        with pg.connection() as connection:
            active = versions.active(connection) if hub is None else None
            if active is not None:
                hub = hub_of(active, folder)
                policy, mapping = active.policy_version, active.mapping_version
            else:
                hub = hub or load_hub(folder)
                done = activate(connection, hub, folder, state, by=activated_by, at=clock())
                policy, mapping = done.policy_version, done.mapping_version
            overrides = versions.newest(connection).overrides
        connectors = connect(hub, limits, clock)
    except BaseException:
        pg.close()
        raise
    return HubContext(
        hub=with_overrides(hub, parsed(overrides)),
        pg=pg,
        state=state,
        clock=clock,
        connectors=connectors,
        policy_version=policy,
        mapping_version=mapping,
        overrides=overrides,
        written=hub,
        limits=limits,
    )


def connect(
    hub: Hub, limits: SharedLimits | None, clock: Clock | None = None
) -> dict[str, Connector]:
    """The hub's connectors, without any I/O. Raises ConfigInvalid where one of them cannot do what
    a channel asks.
    """
    connectors = build_connectors(hub, limits.of if limits else None, clock)
    if findings := capability_findings(hub, connectors):
        raise ConfigInvalid(findings)
    return connectors


def is_outdated(ctx: HubContext, connection: Connection) -> bool:
    """Whether another policy, catalogue or mode counts by now."""
    return versions.newest(connection).supersedes(ctx.settings)


def renewed(ctx: HubContext) -> HubContext:
    """The hub as it counts now, on the same memory. The old context's connectors stay open: close
    them with `disconnect` when nobody uses them any more, unless both share them.

    Raises ConfigInvalid where this process cannot use what was activated (a secret that it was not
    started with), or PostgresUnavailable.
    """
    with ctx.pg.connection() as connection:
        now = versions.newest(connection)
        newer = now.policy_version > ctx.policy_version or now.mapping_version > ctx.mapping_version
        active = versions.active(connection) if newer else None
    overrides = parsed(now.overrides)
    if active is None:
        return replace(
            ctx,
            hub=with_overrides(ctx.as_written, overrides),
            written=ctx.as_written,
            overrides=now.overrides,
        )
    hub = hub_of(active, ctx.hub.folder)
    return replace(
        ctx,
        hub=with_overrides(hub, overrides),
        written=hub,
        connectors=connect(hub, ctx.limits, ctx.clock),
        policy_version=active.policy_version,
        mapping_version=active.mapping_version,
        overrides=now.overrides,
    )


def hub_of(active: Active, folder: Path, *, secrets: bool = True) -> Hub:
    """The hub of texts that were checked when they were activated.

    Without `secrets` it is for looking at: a name that is not set stands for itself. Raises
    HubError where this process cannot use them.
    """
    environ = os.environ if secrets else AnyEnvironment(os.environ)
    hub, findings = check_texts(active.policy, active.files, folder=folder, environ=environ)
    if hub is None:
        found = "; ".join(str(f) for f in findings if f.severity == "error")
        raise HubError(
            f"the hub's rules were activated as version {active.policy_version} and cannot be used "
            f"in this process: {found}",
            hint="a secret that they name must be in the environment of every process: start this "
            "one again with it.",
        )
    return replace(hub, policy_hash=active.policy_hash, catalog_hash=active.mapping_hash)
