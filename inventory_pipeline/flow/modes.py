"""Modes that people set below those of hub.yaml, and what they may set."""

from collections.abc import Mapping
from dataclasses import replace

from inventory_pipeline.config.policy import Channel, Hub
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.vocabulary import Mode

# From what sends nothing to what sends everything.
FURTHER = (Mode.OFF, Mode.SHADOW, Mode.CANARY, Mode.LIVE)


def parsed(overrides: str) -> dict[str, Mode]:
    """Channel → mode, of the text that `memory.versions.Settings` holds."""
    pairs = (pair.rpartition("=") for pair in overrides.split(",") if pair)
    return {channel: Mode(mode) for channel, _, mode in pairs}


def lower(one: Mode, other: Mode) -> Mode:
    """Whichever of both goes less far."""
    return min(one, other, key=FURTHER.index)


def with_overrides(hub: Hub, overrides: Mapping[str, Mode]) -> Hub:
    """The hub with each channel as far as both hub.yaml and its override allow.

    A channel that is switched off by an override is a shadow here: its numbers go on being
    computed, so that it can go on at once; whoever sends or compares leaves it out
    (`HubContext.stopped`).
    """
    if not overrides:
        return hub
    channels = dict(hub.channels)
    for name, mode in overrides.items():
        if name in channels and channels[name].mode is not Mode.OFF:
            allowed = lower(channels[name].mode, Mode.SHADOW if mode is Mode.OFF else mode)
            channels[name] = replace(channels[name], mode=allowed)
    return replace(hub, channels=channels)


def require_lower(channel: Channel, mode: Mode) -> None:
    """Raises HubError for a mode that goes further than hub.yaml's own, or that sends nothing by
    mistake.
    """
    if FURTHER.index(mode) > FURTHER.index(channel.mode):
        raise HubError(
            f"hub.yaml says that {channel.id} is {channel.mode}; it cannot be set to {mode} "
            "from here",
            hint=f"set channels.{channel.id}.mode in hub.yaml, then: "
            "inventory-pipeline activate HUB",
        )
    if mode is Mode.CANARY and not channel.canary_skus:
        raise HubError(
            f"hub.yaml names no canary.skus for {channel.id}, so as a canary it would send nothing",
            hint=f"name some in channels.{channel.id}.canary.skus and activate, or set it to "
            "shadow.",
        )
