"""Moments of the ledger: as people name them, and with the rules that counted then."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from inventory_pipeline.config.load import check_texts
from inventory_pipeline.config.policy import Hub
from inventory_pipeline.core.errors import ConfigInvalid, HubError
from inventory_pipeline.memory import history, sync
from inventory_pipeline.memory.history import Version
from inventory_pipeline.memory.postgres import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Up to which ledger offset, evaluated when, and under which versions.

    `head` is the ledger's newest offset, `computed_offset` the one that the hub has computed.
    """

    at: datetime
    ledger_offset: int
    past: bool
    head: int
    computed_offset: int
    policy: Version
    mapping: Version


def moment_of(
    connection: Connection, *, at: datetime | None, offset: int | None, now: datetime
) -> Moment:
    """The ledger's head evaluated `now`, the time `at`, or an offset when it was received.

    Raises HubError where the ledger has no such moment.
    """
    synced = sync.state(connection)
    upto, evaluated = _place(connection, synced.head, at, offset, now)
    policy, mapping = history.policy_at(connection, upto), history.mapping_at(connection, upto)
    if policy is None or mapping is None:
        raise HubError(
            f"no rules count at offset {upto:,} yet",
            hint="ask for a later moment: the hub's first start activates its rules.",
        )
    _require_pair(connection, upto, mapping)
    return Moment(
        at=evaluated,
        ledger_offset=upto,
        past=at is not None or offset is not None,
        head=synced.head,
        computed_offset=synced.ledger_offset,
        policy=policy,
        mapping=mapping,
    )


def _place(
    connection: Connection, head: int, at: datetime | None, offset: int | None, now: datetime
) -> tuple[int, datetime]:
    """(the moment's offset, the time at which it is evaluated)."""
    first = history.entry(connection, 1)
    if first is None:
        raise HubError("the ledger is empty", hint="start the hub: inventory-pipeline up HUB.")
    if at is not None and offset is not None:
        raise HubError("a moment is a time or an offset", hint="give --at or --offset, not both.")
    if offset is not None:
        entry = history.entry(connection, offset)
        if entry is None:
            raise HubError(
                f"the ledger has no offset {offset:,}", hint=f"it goes from 1 to {head:,}."
            )
        return offset, entry.received_at
    if at is None:
        return head, now
    upto = history.newest_offset(connection, at, head=head)
    if upto == 0:
        raise HubError(
            f"at {at.isoformat()} the ledger was empty",
            hint=f"its first entry was received at {first.received_at.isoformat()}.",
        )
    return upto, at


def _require_pair(connection: Connection, upto: int, mapping: Version) -> None:
    """One start activates a changed catalogue and, one offset later, the rules that go with it."""
    if mapping.ledger_offset != upto:
        return
    rules = history.policy_at(connection, upto + 1)
    if rules is not None and rules.ledger_offset == upto + 1:
        raise HubError(
            f"nothing was computed at offset {upto:,}: catalogue version {mapping.version} and "
            f"rules version {rules.version} were activated together, and count from the next "
            "offset",
            hint=f"ask for --offset {upto + 1}, or for {upto - 1} to see what counted before.",
        )


class AnyEnvironment(dict[str, str]):
    """Has every name: a secret that is no longer set is not needed to explain a past moment."""

    def __contains__(self, _key: object) -> bool:
        return True

    def __missing__(self, _key: str) -> str:
        return "unset"

    def get(self, key: str, _default: Any = None) -> Any:
        return self[key]


def hub_of(
    connection: Connection,
    moment: Moment,
    *,
    folder: Path,
    environ: Mapping[str, str],
    known: Hub | None = None,
) -> Hub:
    """The rules and the catalogue that count at the moment; `known` where it is just these.

    Raises ConfigInvalid where the two never counted together.
    """
    wanted = (moment.policy.hash, moment.mapping.hash)
    if known is not None and (known.policy_hash, known.catalog_hash) == wanted:
        return known
    hub, findings = check_texts(
        history.policy_text(connection, moment.policy.version),
        history.catalog_texts(connection, moment.mapping.version),
        folder=folder,
        environ=AnyEnvironment(environ),
    )
    if hub is None:
        raise ConfigInvalid([f for f in findings if f.severity == "error"])
    return hub
