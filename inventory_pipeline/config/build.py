"""From readable parts to the policy's frozen values, every reference checked (SEMANTICS §6, §7)."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from inventory_pipeline.config.draft import Draft
from inventory_pipeline.config.findings import did_you_mean
from inventory_pipeline.config.places import resolve_locations
from inventory_pipeline.config.policy import (
    Alerts,
    AutoBuffer,
    Bucket,
    Channel,
    Guard,
    Location,
    Ownership,
    PushPolicy,
    Rollout,
    Rule,
    SnapshotPolicy,
    Sync,
    System,
    Tolerances,
)
from inventory_pipeline.config.rule_schema import (
    AnyRule,
    BufferRule,
    ContractRule,
    OneWinner,
    ProtectRule,
)
from inventory_pipeline.config.schema import ChannelPart, SystemPart
from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.config.yaml_tree import Path
from inventory_pipeline.core.vocabulary import Mode, State

_ALWAYS = datetime.min.replace(tzinfo=UTC)
_FOREVER = datetime.max.replace(tzinfo=UTC)


def build_locations(draft: Draft) -> dict[str, Location]:
    return {
        key: Location(id=key, kind=part.kind, region=part.region)
        for key, part in draft.locations.items()
    }


def build_systems(draft: Draft) -> dict[str, System]:
    return {key: _system(draft, key, part) for key, part in draft.systems.items()}


def _system(draft: Draft, key: str, part: SystemPart) -> System:
    path = ("systems", key)
    for external, location in part.locations.items():
        if location not in draft.names["locations"]:
            hint = did_you_mean(location, draft.names["locations"])
            message = f"there is no location '{location}'{hint}"
            draft.error((*path, "locations", external), message, location)
    owns = tuple(
        Ownership(
            states=tuple(State(state) for state in dict.fromkeys(owned.states)),
            locations=resolve_locations(
                draft, owned.locations, (*path, "owns", number, "locations")
            ),
        )
        for number, owned in enumerate(part.owns)
    )
    feed = part.options.get("feed")
    if feed is not None and not isinstance(feed, str | int):
        draft.error((*path, "options", "feed"), "should be a text")
    return System(
        id=key,
        connector=part.connector,
        options=part.options,
        locations=part.locations,
        owns=owns,
        lag=part.lag,
        orders=part.orders,
        snapshot=SnapshotPolicy(
            complete=part.snapshot.complete,
            max_age=part.snapshot.max_age,
            max_drop=part.snapshot.max_drop,
        ),
        poll=part.poll,
        feed="" if feed is None else str(feed),
    )


def build_channels(draft: Draft) -> dict[str, Channel]:
    return {key: _channel(draft, key, part) for key, part in draft.channels.items()}


def _channel(draft: Draft, key: str, part: ChannelPart) -> Channel:
    path = ("channels", key)
    if part.system not in draft.names["systems"]:
        hint = did_you_mean(part.system, draft.names["systems"])
        draft.error((*path, "system"), f"there is no system '{part.system}'{hint}", part.system)
    if part.mode == "canary" and not part.canary.skus:
        draft.error((*path, "mode"), "canary sends canary.skus only, and names none", part.mode)
    return Channel(
        id=key,
        system=part.system,
        mode=Mode(part.mode),
        buckets=tuple(_buckets(draft, part, path)),
        decimals=part.decimals,
        canary_skus=tuple(part.canary.skus),
        skew=part.skew,
        guard=Guard(
            percent=part.guard.percent,
            share=part.guard.share,
            window=part.guard.window,
            min_listings=part.guard.min_listings,
        ),
        push=PushPolicy(max_attempts=part.push.max_attempts, give_up=part.push.give_up),
        heal={str(cause): str(heal) for cause, heal in part.heal.items()},
    )


def _buckets(draft: Draft, part: ChannelPart, path: Path) -> Iterator[Bucket]:
    seen: dict[tuple[str, str], int] = {}
    for number, bucket in enumerate(part.buckets):
        at = (*path, "buckets", number)
        for key, value in (("id", bucket.id), ("external", bucket.external)):
            if (key, value) in seen:
                first = seen[key, value]
                draft.error((*at, key), f"stands twice; the first is in line {first}", value)
            elif value:
                seen[key, value] = draft.tree.line((*at, key))
        locations = resolve_locations(draft, bucket.locations, (*at, "locations"))
        yield Bucket(id=bucket.id, external=bucket.external, locations=locations)


def build_rules(draft: Draft) -> tuple[Rule, ...]:
    _rule_ids_are_unique(draft)
    return tuple(_rule(draft, number, part) for number, part in draft.rules)


def _rule_ids_are_unique(draft: Draft) -> None:
    first: dict[str, int] = {}
    for number, part in draft.rules:
        path: Path = ("rules", number, "id")
        if part.id in first:
            message = f"this id stands twice; the first is in line {first[part.id]}"
            draft.error(path, message, part.id)
        else:
            first[part.id] = draft.tree.line(path)


def _rule(draft: Draft, number: int, part: AnyRule) -> Rule:
    path = ("rules", number)
    channels: Sequence[str] | None = None
    excepted: Sequence[str] = ()
    priority = 0
    if isinstance(part, OneWinner):
        channels, excepted, priority = part.channels, part.except_channels, part.priority
        _check_channels(draft, channels or (), (*path, "channels"))
        _check_channels(draft, excepted, (*path, "except_channels"))
    for_channel = part.for_channel if isinstance(part, ProtectRule | ContractRule) else None
    if for_channel is not None:
        _check_channel(draft, for_channel, (*path, "for"))
    _check_dates(draft, part, path)
    written = getattr(part, "locations", None)
    auto = _auto(draft, part, path)
    return Rule(
        id=part.id,
        kind=part.kind,
        order=number,
        line=draft.tree.line(path),
        skus=None if part.skus is None else tuple(part.skus),
        channels=None if channels is None else tuple(channels),
        except_channels=tuple(excepted),
        locations=None
        if written is None
        else resolve_locations(draft, written, (*path, "locations")),
        for_channel=for_channel,
        priority=priority,
        from_at=part.from_at,
        until_at=part.until_at,
        units=getattr(part, "units", None),
        percent=getattr(part, "percent", None),
        limit=getattr(part, "limit", None),
        horizon=getattr(part, "horizon", None),
        exclusive=getattr(part, "exclusive", False),
        fulfilment=getattr(part, "fulfilment", None),
        auto=auto,
    )


def _auto(draft: Draft, part: AnyRule, path: Path) -> AutoBuffer | None:
    if not isinstance(part, BufferRule):
        return None
    given = [key for key in ("units", "percent", "auto") if getattr(part, key) is not None]
    if len(given) != 1:
        has = " and ".join(given) or "none of them"
        draft.error(path, f"a buffer needs exactly one of units, percent, auto; it has {has}", has)
    if part.auto is None:
        return None
    return AutoBuffer(factor=part.auto.factor, max_units=part.auto.max, window=part.auto.window)


def _check_dates(draft: Draft, part: AnyRule, path: Path) -> None:
    if (part.from_at or _ALWAYS) >= (part.until_at or _FOREVER):
        written = draft.tree.at((*path, "until"))
        draft.error((*path, "until"), "should be later than `from`: it never counts", written)


def _check_channels(draft: Draft, selectors: Sequence[str], path: Path) -> None:
    for number, selector in enumerate(selectors):
        at = (*path, number)
        channel, slash, bucket = selector.partition("/")
        if not slash:
            _check_channel(draft, selector, at)
        elif channel not in draft.names["channels"]:
            _check_channel(draft, channel, at)
        elif bucket not in draft.buckets[channel]:
            hint = did_you_mean(bucket, draft.buckets[channel])
            message = f"the channel '{channel}' has no bucket '{bucket}'{hint}"
            draft.error(at, message, selector)


def _check_channel(draft: Draft, channel: str, path: Path) -> None:
    if channel in draft.names["channels"]:
        return
    if channel == "*":
        draft.error(path, "there is no channel '*'; leave the key out for all channels", channel)
        return
    hint = did_you_mean(channel, draft.names["channels"])
    draft.error(path, f"there is no channel '{channel}'{hint}", channel)


def build_tolerances(draft: Draft) -> Tolerances:
    part = draft.tolerances
    return Tolerances(units=part.units, percent=part.percent, escalate_after=part.escalate_after)


def build_sync(draft: Draft) -> Sync:
    return Sync(idle=draft.sync.idle, max_run=draft.sync.max_run)


def build_alerts(draft: Draft) -> Alerts:
    """Addresses are texts or secrets; what Apprise makes of them is asked when they are used."""
    for name, address in draft.alerts.to.items():
        if not isinstance(address, str | Secret):
            draft.error(("alerts", "to", name), "should be an Apprise address, best as {env: NAME}")
    return Alerts(to=draft.alerts.to, quiet=draft.alerts.quiet)


def build_rollout(draft: Draft) -> Rollout:
    part = draft.rollout
    if part.approvers and part.required > len(set(part.approvers)):
        message = f"asks for {part.required} of {len(set(part.approvers))} approvers: nobody could"
        draft.error(("rollout", "required"), message, part.required)
    return Rollout(approvers=tuple(part.approvers), required=part.required)
