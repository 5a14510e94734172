"""hub.yaml part by part, so that one bad key hides no other error."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from inventory_pipeline.config.environment import OptionReader
from inventory_pipeline.config.fields import parse_name, parse_place
from inventory_pipeline.config.findings import Report, did_you_mean, listed
from inventory_pipeline.config.messages import keys_of, place, report_errors, shown
from inventory_pipeline.config.rule_schema import RULE_KINDS, AnyRule
from inventory_pipeline.config.schema import (
    AlertsPart,
    ChannelPart,
    HubFile,
    LocationPart,
    RolloutPart,
    SyncPart,
    SystemPart,
    TolerancesPart,
)
from inventory_pipeline.config.yaml_tree import Path, YamlTree

PartT = TypeVar("PartT", bound=BaseModel)


@dataclass(slots=True, kw_only=True)
class Draft:
    """The readable parts; `names` holds the unreadable ones' names too, so that references to
    them stand.

    `names` maps `locations`, `systems` and `channels` to their ids; `buckets` maps a channel to
    its buckets' ids.
    """

    tree: YamlTree
    report: Report
    name: str = ""
    locations: dict[str, LocationPart] = field(default_factory=dict)
    systems: dict[str, SystemPart] = field(default_factory=dict)
    channels: dict[str, ChannelPart] = field(default_factory=dict)
    rules: list[tuple[int, AnyRule]] = field(default_factory=list)
    tolerances: TolerancesPart = field(default_factory=TolerancesPart)
    sync: SyncPart = field(default_factory=SyncPart)
    rollout: RolloutPart = field(default_factory=RolloutPart)
    alerts: AlertsPart = field(default_factory=AlertsPart)
    names: dict[str, list[str]] = field(default_factory=dict)
    buckets: dict[str, list[str]] = field(default_factory=dict)

    def error(self, path: Path, message: str, value: object = "") -> None:
        """A finding at the path's line, its message led by the path's name."""
        about = place(path, self.tree)
        self.report.error(self.tree.file, self.tree.line(path), f"{about}: {message}", value)

    def all_read(self, section: str, parts: Mapping[str, Any]) -> bool:
        """Whether no part of the section is missing because it was wrong."""
        return len(parts) == len(self.names[section])


def read_draft(tree: YamlTree, environ: Mapping[str, str], report: Report) -> Draft | None:
    """Types and checks each part by itself; None where the file is not a mapping at all."""
    draft = Draft(tree=tree, report=report)
    if not isinstance(tree.value, dict):
        report.error(tree.file, 1, "should be a mapping of keys and values", shown(tree.value))
        return None
    _top_level(draft)
    for section in ("locations", "systems", "channels"):
        entries = _section(draft, section, dict)
        draft.names[section] = list(entries)
    draft.name = _hub_name(draft)
    draft.locations = dict(_parts(draft, "locations", LocationPart))
    draft.systems = dict(_systems(draft, environ))
    draft.channels = dict(_parts(draft, "channels", ChannelPart))
    draft.buckets = {name: _bucket_ids(draft, name) for name in draft.names["channels"]}
    draft.rules = list(_rules(draft))
    draft.tolerances = _single(draft, "tolerances", TolerancesPart) or draft.tolerances
    draft.sync = _single(draft, "sync", SyncPart) or draft.sync
    draft.rollout = _single(draft, "rollout", RolloutPart) or draft.rollout
    draft.alerts = _alerts(draft, environ) or draft.alerts
    return draft


def _top_level(draft: Draft) -> None:
    known = keys_of(HubFile)
    for key in draft.tree.value:
        if key not in known:
            hint = did_you_mean(key, known) or f" - known keys: {listed(known, most=20)}"
            line = draft.tree.line((key,))
            draft.report.error(draft.tree.file, line, f"unknown key '{key}'{hint}", key)
    for key in ("hub", "locations", "systems"):
        if key not in draft.tree.value:
            draft.error((), f"the key '{key}' is missing")


def _section(draft: Draft, section: str, kind: type[Any]) -> Any:
    value = draft.tree.value.get(section)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        wanted = "a list, each entry with a leading '-'" if kind is list else "a mapping"
        draft.error((section,), f"should be {wanted}", shown(value))
        return kind()
    return value


def _hub_name(draft: Draft) -> str:
    if "hub" not in draft.tree.value:
        return ""
    value = draft.tree.value["hub"]
    try:
        return parse_name(value)
    except ValueError as error:
        draft.error(("hub",), str(error), shown(value))
        return ""


def _parts(draft: Draft, section: str, model: type[PartT]) -> Iterator[tuple[str, PartT]]:
    """The readable entries of a mapping of ids; a location may be empty."""
    for key, value in _section(draft, section, dict).items():
        path = (section, key)
        named = _id_is_usable(draft, path)
        raw = {} if value is None and section == "locations" else value
        part = _part(draft, model, _plain(raw), path)
        if part is not None and named:
            yield key, part


def _id_is_usable(draft: Draft, path: tuple[str, str]) -> bool:
    parse = parse_place if path[0] == "locations" else parse_name
    try:
        parse(path[1])
    except ValueError as error:
        draft.error(path, f"the name {error}", path[1])
        return False
    return True


def _part(draft: Draft, model: type[PartT], value: Any, path: Path) -> PartT | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        report_errors(error, model=model, tree=draft.tree, path=path, report=draft.report)
        return None


def _single(draft: Draft, section: str, model: type[PartT]) -> PartT | None:
    return _part(draft, model, _plain(_section(draft, section, dict)), (section,))


def _systems(draft: Draft, environ: Mapping[str, str]) -> Iterator[tuple[str, SystemPart]]:
    reader = OptionReader(draft.tree, environ, draft.report)
    for key, value in _section(draft, "systems", dict).items():
        path = ("systems", key)
        named = _id_is_usable(draft, path)
        raw = _plain(value)
        if isinstance(value, dict) and "options" in value:
            options = value["options"] or {}
            known = isinstance(options, dict)
            raw["options"] = reader.options(options, (*path, "options")) if known else options
        part = _part(draft, SystemPart, raw, path)
        if part is not None and named:
            yield key, part


def _alerts(draft: Draft, environ: Mapping[str, str]) -> AlertsPart | None:
    value = _section(draft, "alerts", dict)
    raw = _plain(value)
    if isinstance(value.get("to"), dict):
        reader = OptionReader(draft.tree, environ, draft.report)
        raw["to"] = reader.options(value["to"], ("alerts", "to"))
    return _part(draft, AlertsPart, raw, ("alerts",))


def _bucket_ids(draft: Draft, channel: str) -> list[str]:
    """As written, of unreadable channels too."""
    buckets = draft.tree.at(("channels", channel, "buckets"))
    entries = buckets if isinstance(buckets, list) else []
    ids = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return [str(one) for one in ids if isinstance(one, str)]


def _rules(draft: Draft) -> Iterator[tuple[int, AnyRule]]:
    for number, value in enumerate(_section(draft, "rules", list)):
        path = ("rules", number)
        if not isinstance(value, dict):
            draft.error(path, "should be a mapping of keys and values", shown(value))
            continue
        model = _rule_model(draft, value, path)
        rule = _part(draft, model, _plain(value), path) if model else None
        if rule is not None:
            yield number, rule


def _rule_model(draft: Draft, value: Mapping[str, Any], path: Path) -> type[AnyRule] | None:
    kind = value.get("kind")
    if kind is None:
        draft.error(path, "the key 'kind' is missing")
        return None
    if not isinstance(kind, str) or kind not in RULE_KINDS:
        hint = did_you_mean(str(kind), RULE_KINDS) if isinstance(kind, str) else ""
        known = listed(RULE_KINDS, most=20)
        draft.error((*path, "kind"), f"should be one of {known}{hint}", shown(kind))
        return None
    return RULE_KINDS[str(kind)]


def _plain(value: Any) -> Any:
    """Without the tree's own scalar type, which pydantic's word lists do not know."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, str) else value
