"""hub.yaml's keys, types, defaults and descriptions: one model per part (SEMANTICS §6, §7).

The same models check a file (draft.py), and make the JSON Schema that editors use (`json_schema`).
"""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field
from pydantic.json_schema import GenerateJsonSchema

from inventory_pipeline.config.fields import (
    BucketId,
    Count,
    Decimals,
    Duration,
    Flag,
    Name,
    Percent,
    Place,
    PositiveCount,
    PositiveDuration,
    QuietTimes,
    Text,
    Units,
    parse_mode,
)
from inventory_pipeline.config.fields import Part as PercentOfWhole
from inventory_pipeline.config.rule_schema import AnyRule, Names, Part

StateWord: TypeAlias = Literal[
    "on_hand", "damaged", "quality_control", "committed", "reserved", "incoming"
]
CauseWord: TypeAlias = Literal[
    "in_flight",
    "not_yet_applied",
    "push_failed",
    "unmapped",
    "not_listed",
    "order_not_ingested",
    "lost_update",
    "duplicate_effect",
    "late_event",
    "rounding",
    "stale_source",
    "external_edit",
    "unexplained",
]
HealWord: TypeAlias = Literal["none", "reread", "repush", "ingest", "alert", "repush_and_alert"]
ModeWord = Annotated[Literal["off", "shadow", "canary", "live"], BeforeValidator(parse_mode)]


class LocationPart(Part):
    """A place that holds stock. Its key is its id everywhere else."""

    kind: Text = Field("", description="What it is: warehouse, store, … Selected by kind:NAME.")
    region: Text = Field("", description="Where it is. Selected by region:NAME.")


class OwnsPart(Part):
    """States at locations that this system alone decides."""

    states: list[StateWord] = Field(min_length=1, description="Which states it decides.")
    locations: Names = Field(description="Where: ids, region:NAME or kind:NAME.")


class SnapshotPart(Part):
    """How this system's snapshots are read."""

    complete: Flag = Field(
        False,
        description="True: what a snapshot leaves out is 0 at the locations that it covers.",
    )
    max_age: PositiveDuration = Field(
        timedelta(hours=24), description="Older than this, the freshness check fails."
    )
    max_drop: PercentOfWhole | None = Field(
        None,
        description="With complete: a snapshot with this many percent fewer rows than the last is "
        "refused when it exceeds this. Absent: no check.",
    )


class SystemPart(Part):
    """A system that reports stock or orders, or that channels belong to. Its key is its id."""

    connector: Text = Field(description="Which connector speaks to it, such as files or shopify.")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="The connector's own settings. {env: NAME} anywhere in it reads a secret from "
        "the environment; {env: NAME, default: TEXT} has a fallback.",
    )
    locations: dict[str, Place] = Field(
        default_factory=dict,
        description="The system's own location → this hub's location. Equal names need no row.",
    )
    owns: list[OwnsPart] = Field(
        default_factory=list, description="Which states this system alone decides, and where."
    )
    lag: Duration = Field(
        timedelta(0), description="How much later than it happened a change shows in its snapshots."
    )
    orders: Literal["count", "ignore"] = Field(
        "count", description="ignore: another system already reports the same orders."
    )
    snapshot: SnapshotPart = Field(
        default_factory=SnapshotPart, description="How its snapshots are read."
    )
    poll: PositiveDuration = Field(
        timedelta(seconds=30), description="How often it is asked for changes."
    )


class BucketPart(Part):
    """A place in the channel that has its own quantity."""

    id: BucketId = Field(description="The bucket's name in rules: channel/bucket.")
    external: Text = Field("", description="The channel's own name for this place.")
    locations: Names = Field(
        description="The locations that it sells from: ids, region:NAME or kind:NAME."
    )


class CanaryPart(Part):
    """What is sent while the mode is canary."""

    skus: list[Text] = Field(
        default_factory=list, description="Skus, patterns, tag:NAME or *: only these are sent."
    )


class GuardPart(Part):
    """Holds back a suspicious wave of changes until a person looks."""

    percent: Percent = Field(Decimal(50), description="A move by more than this is a big one.")
    share: PercentOfWhole = Field(
        Decimal(20), description="Holds when more than this part of the listings moves so."
    )
    window: PositiveDuration = Field(
        timedelta(minutes=15), description="Listings sent within this time count too."
    )
    min_listings: Count = Field(20, description="Never holds below this many listings.")


class PushPart(Part):
    """How long a write is tried."""

    max_attempts: PositiveCount = Field(8, description="After so many attempts: the dead letter.")
    give_up: PositiveDuration = Field(
        timedelta(hours=24), description="After so long: the dead letter."
    )


class ChannelPart(Part):
    """Where goods are sold. Its key is its id."""

    system: Name = Field(description="The system that the channel belongs to.")
    mode: ModeWord = Field(
        "shadow",
        description="off: nothing is computed; shadow: computed and compared, nothing sent; "
        "canary: only canary.skus are sent; live: everything is sent.",
    )
    buckets: list[BucketPart] = Field(
        min_length=1, description="The places in the channel that have their own quantity."
    )
    decimals: Decimals = Field(0, description="Decimals of the channel's quantities.")
    canary: CanaryPart = Field(
        default_factory=CanaryPart, description="What is sent while the mode is canary."
    )
    skew: Duration = Field(
        timedelta(seconds=5), description="Clocks of hub and channel may differ by this much."
    )
    guard: GuardPart = Field(
        default_factory=GuardPart, description="Holds back a suspicious wave of changes."
    )
    push: PushPart = Field(default_factory=PushPart, description="How long a write is tried.")
    heal: dict[CauseWord, HealWord] = Field(
        default_factory=dict, description="What is done about a variance of this cause."
    )


class TolerancesPart(Part):
    """How far a channel or a source may differ; within either is no variance."""

    units: Units = Field(Decimal(0), description="Differences up to so many units are none.")
    percent: Percent = Field(Decimal(0), description="Differences up to this part are none.")
    escalate_after: Duration = Field(
        timedelta(hours=4), description="A variance warns first, and is an error after this time."
    )


class SyncPart(Part):
    """How long a run that handles changes stays warm."""

    idle: PositiveDuration = Field(
        timedelta(seconds=60), description="It ends after so long without a change."
    )
    max_run: PositiveDuration = Field(
        timedelta(minutes=10), description="It hands over to its successor after so long."
    )


class RolloutPart(Part):
    """Who must approve a changed hub.yaml."""

    approvers: list[Text] = Field(default_factory=list, description="Who may approve.")
    required: Count = Field(1, description="How many of them must.")


class AlertsPart(Part):
    """Who is told when something is not well, and when it is again."""

    to: dict[Name, Any] = Field(
        default_factory=dict,
        description="A name → where to: an Apprise address, such as {env: ALERT_MAIL}. "
        "E-mail, Slack, Teams, webhooks and many more.",
    )
    quiet: QuietTimes | None = Field(
        None,
        description="22:00-07:00 Europe/Berlin: errors are told at any time, all else afterwards.",
    )


class HubFile(Part):
    """The policy of one inventory hub."""

    hub: Name = Field(description="The hub's name.")
    locations: dict[str, LocationPart | None] = Field(description="Places that hold stock.")
    systems: dict[str, SystemPart] = Field(description="Systems that report stock and orders.")
    channels: dict[str, ChannelPart] = Field(
        default_factory=dict, description="Where goods are sold."
    )
    rules: list[Annotated[AnyRule, Field(discriminator="kind")]] = Field(
        default_factory=list, description="What is kept back, shared, capped, promised."
    )
    tolerances: TolerancesPart = Field(
        default_factory=TolerancesPart, description="Which differences are no variance."
    )
    sync: SyncPart = Field(
        default_factory=SyncPart, description="How long a run that handles changes stays warm."
    )
    rollout: RolloutPart = Field(
        default_factory=RolloutPart, description="Who must approve a changed hub.yaml."
    )
    alerts: AlertsPart = Field(
        default_factory=AlertsPart, description="Who is told when something is not well."
    )


_UNIT_SECONDS = (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def duration_text(duration: timedelta) -> str:
    """The shortest way to write a whole number of seconds in hub.yaml: 86400 s is 1d."""
    seconds = int(duration.total_seconds())
    for unit, size in _UNIT_SECONDS:
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return "0"


class _AsWritten(GenerateJsonSchema):
    """Defaults as a person writes them in hub.yaml."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return duration_text(dft)
        if isinstance(dft, Decimal):
            return int(dft) if dft == dft.to_integral_value() else str(dft)
        return super().encode_default(dft)

    def get_title_from_name(self, name: str) -> str:
        return name

    def default_schema(self, schema: Any) -> dict[str, Any]:
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]  # an absent key, not a key that says null
        return made


def json_schema() -> dict[str, Any]:
    """The JSON Schema of hub.yaml (draft 2020-12), with a description of every key, for editors."""
    made = HubFile.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
