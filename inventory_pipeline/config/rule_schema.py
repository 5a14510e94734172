"""The rules of hub.yaml: a model per kind, with just the keys that it takes (SEMANTICS §6)."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from inventory_pipeline.config.fields import (
    Factor,
    Flag,
    Moment,
    Name,
    PositiveDuration,
    Priority,
    Text,
    Units,
)
from inventory_pipeline.config.fields import Part as PercentOfWhole

Fulfilment: TypeAlias = Literal["same_location", "split"]
Names = Annotated[list[Text], Field(min_length=1)]


class Part(BaseModel):
    """A mapping of hub.yaml: exactly these keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RulePart(Part):
    """What every rule takes."""

    id: Text = Field(description="The rule's name in explanations; once per file.")
    skus: Names | None = Field(
        None, description="Skus, patterns with * and ?, tag:NAME or *. Absent: all."
    )
    from_at: Moment | None = Field(
        None, alias="from", description="It counts from then on. A bare date is midnight UTC."
    )
    until_at: Moment | None = Field(
        None, alias="until", description="It counts until just before then."
    )


class OneWinner(RulePart):
    """A kind of which exactly one rule applies: the winner (SEMANTICS §6)."""

    channels: Names | None = Field(
        None, description="channel or channel/bucket, for which it applies. Absent: all."
    )
    except_channels: list[Text] = Field(
        default_factory=list, description="channel or channel/bucket, for which it does not apply."
    )
    priority: Priority = Field(0, description="The highest wins, before any other comparison.")


class _AtLocations(Part):
    locations: Names | None = Field(
        None, description="Location ids, region:NAME or kind:NAME. Absent: see the kind."
    )


class SafetyStockRule(OneWinner, _AtLocations):
    """Keeps units back: per location with `locations`, once for the network without."""

    kind: Literal["safety_stock"]
    units: Units = Field(description="Base units per sku that are kept back.")


class LocationReserveRule(OneWinner, _AtLocations):
    """Keeps units back at each location; at every location without `locations`."""

    kind: Literal["location_reserve"]
    units: Units = Field(description="Base units per sku that are kept back at each location.")


class ProtectRule(RulePart, _AtLocations):
    """Protects units for one channel from all others."""

    kind: Literal["protect"]
    for_channel: Name = Field(alias="for", description="The channel that the units are kept for.")
    units: Units = Field(description="Base units per sku.")


class ContractRule(RulePart, _AtLocations):
    """Units promised to one channel in a period; what it orders counts against them."""

    kind: Literal["contract"]
    for_channel: Name = Field(alias="for", description="The channel that has the contract.")
    units: Units = Field(description="Base units per sku in the whole period.")
    exclusive: Flag = Field(False, description="True: the channel sells no more than is left.")


class AutoPart(Part):
    """A buffer that grows while feeds are stale and goods sell fast."""

    factor: Factor = Field(Decimal(1), description="Multiplies units per hour x hours unseen.")
    max: Units = Field(description="Never more base units than this.")
    window: PositiveDuration = Field(
        timedelta(hours=24), description="Sales of this last stretch of time give the rate."
    )


class BufferRule(OneWinner):
    """Hides a part of what is left: exactly one of units, percent, auto."""

    kind: Literal["buffer"]
    units: Units | None = Field(None, description="Base units that are hidden.")
    percent: PercentOfWhole | None = Field(None, description="Part that is hidden, rounded up.")
    auto: AutoPart | None = Field(None, description="Computed from sales and stale feeds.")


class ShareRule(OneWinner):
    """Offers a part of what is left."""

    kind: Literal["share"]
    percent: PercentOfWhole = Field(description="Part that is offered, rounded down.")


class BackorderRule(OneWinner):
    """Sells below zero."""

    kind: Literal["backorder"]
    limit: Units = Field(description="Base units that may be sold beyond the stock.")


class PreorderRule(OneWinner):
    """Sells what is coming, between from and until."""

    kind: Literal["preorder"]
    limit: Units = Field(description="Base units that may be open on preorder lines.")
    horizon: PositiveDuration = Field(description="Only incoming goods due within this time count.")


class CapRule(OneWinner):
    """Never shows more."""

    kind: Literal["cap"]
    units: Units = Field(description="The most base units that are shown.")


class MinDisplayRule(OneWinner):
    """Shows 0 instead of very few."""

    kind: Literal["min_display"]
    units: Units = Field(description="Below so many base units, 0 is shown.")


class ExcludeRule(OneWinner):
    """Shows 0."""

    kind: Literal["exclude"]


class BundleRule(OneWinner):
    """How bundles are put together."""

    kind: Literal["bundle"]
    fulfilment: Fulfilment = Field(
        "same_location",
        description="same_location: all components from one location; split: from any.",
    )


AnyRule: TypeAlias = (
    SafetyStockRule
    | LocationReserveRule
    | ProtectRule
    | ContractRule
    | BufferRule
    | ShareRule
    | BackorderRule
    | PreorderRule
    | CapRule
    | MinDisplayRule
    | ExcludeRule
    | BundleRule
)
RULE_KINDS: dict[str, type[AnyRule]] = {
    "safety_stock": SafetyStockRule,
    "location_reserve": LocationReserveRule,
    "protect": ProtectRule,
    "contract": ContractRule,
    "buffer": BufferRule,
    "share": ShareRule,
    "backorder": BackorderRule,
    "preorder": PreorderRule,
    "cap": CapRule,
    "min_display": MinDisplayRule,
    "exclude": ExcludeRule,
    "bundle": BundleRule,
}
