"""Location selectors resolved, and who owns which state where (SEMANTICS §3, §6)."""

from collections.abc import Mapping, Sequence

from inventory_pipeline.config.draft import Draft
from inventory_pipeline.config.findings import did_you_mean, listed
from inventory_pipeline.config.messages import place
from inventory_pipeline.config.policy import Channel, Ownership, System
from inventory_pipeline.config.yaml_tree import Path
from inventory_pipeline.core.vocabulary import OWNED_STATES, Mode, State

Claim = tuple[str, int]  # a system and the index of its entry in `owns`


def resolve_locations(draft: Draft, selectors: Sequence[str], path: Path) -> tuple[str, ...]:
    """Location ids in the order of the selectors, each once; unknown ones become findings."""
    found: dict[str, None] = {}
    for number, selector in enumerate(selectors):
        ids = _selected(draft, selector, (*path, number))
        found.update(dict.fromkeys(ids))
    return tuple(found)


def _selected(draft: Draft, selector: str, path: Path) -> list[str]:
    for prefix in ("region", "kind"):
        if selector.startswith(f"{prefix}:"):
            return _of_group(draft, prefix, selector, path)
    if selector not in draft.names["locations"]:
        hint = did_you_mean(selector, draft.names["locations"])
        draft.error(path, f"there is no location '{selector}'{hint}", selector)
        return []
    return [selector]


def _of_group(draft: Draft, prefix: str, selector: str, path: Path) -> list[str]:
    name = selector.removeprefix(f"{prefix}:")
    group = {key: str(getattr(part, prefix)) for key, part in draft.locations.items()}
    ids = [key for key, value in group.items() if value and value == name]
    # Where a location itself could not be read, its region is unknown: no second error for that.
    if not ids and draft.all_read("locations", draft.locations):
        hint = did_you_mean(name, {value for value in group.values() if value})
        draft.error(path, f"no location has {prefix} '{name}'{hint}", selector)
    return ids


def check_ownership(
    draft: Draft, systems: Mapping[str, System], channels: Mapping[str, Channel]
) -> None:
    """One owner per (state, location), and one at all where a channel sells from (SEMANTICS §3)."""
    owners = _one_owner_each(draft, systems)
    whole = draft.all_read("systems", systems) and draft.all_read("channels", channels)
    if whole and draft.all_read("locations", draft.locations):
        _no_owner_missing(draft, channels, owners)


def _one_owner_each(draft: Draft, systems: Mapping[str, System]) -> dict[tuple[State, str], Claim]:
    owners: dict[tuple[State, str], Claim] = {}
    clashes: dict[tuple[Claim, Claim], list[tuple[State, str]]] = {}
    for system in systems.values():
        for number, owned in enumerate(system.owns):
            claim = (system.id, number)
            for cell in _cells(owned):
                first = owners.setdefault(cell, claim)
                if first[0] != system.id:
                    clashes.setdefault((first, claim), []).append(cell)
    for (first, second), cells in clashes.items():
        _report_clash(draft, first, second, cells)
    return owners


def _cells(owned: Ownership) -> list[tuple[State, str]]:
    return [(state, location) for location in owned.locations for state in owned.states]


def _report_clash(
    draft: Draft, first: Claim, second: Claim, cells: Sequence[tuple[State, str]]
) -> None:
    file = draft.tree.file
    path: Path = ("systems", second[0], "owns", second[1])
    lines = [draft.tree.line(("systems", name, "owns", number)) for name, number in (first, second)]
    states = listed(dict.fromkeys(state.value for state, _ in cells))
    locations = listed(dict.fromkeys(location for _, location in cells))
    message = (
        f"{states} at {locations} has two owners: {first[0]} ({file}:{lines[0]}) and "
        f"{second[0]} ({file}:{lines[1]}); take it out of one of them"
    )
    draft.error(path, message, f"{states} at {locations}")


def _no_owner_missing(
    draft: Draft, channels: Mapping[str, Channel], owners: Mapping[tuple[State, str], Claim]
) -> None:
    reported: set[str] = set()
    for channel in channels.values():
        if channel.mode is Mode.OFF:
            continue
        for number, bucket in enumerate(channel.buckets):
            path: Path = ("channels", channel.id, "buckets", number, "locations")
            for location in bucket.locations:
                missing = [s.value for s in OWNED_STATES if (s, location) not in owners]
                if missing and location not in reported:
                    reported.add(location)
                    _report_missing(draft, path, location, missing)


def _report_missing(draft: Draft, path: Path, location: str, missing: Sequence[str]) -> None:
    message = (
        f"no system owns {', '.join(missing)} at {location}, which this channel sells from; "
        "add it to `owns` of the one system that decides it"
    )
    where = place(("locations", location), draft.tree)
    line = draft.tree.line(("locations", location))
    draft.error(path, f"{message} ({where} is in line {line})", location)
