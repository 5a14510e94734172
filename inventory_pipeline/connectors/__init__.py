"""Connectors: one file a system, all of the same protocol (`core.ports.Connector`).

A connector is found by its name when it is built, so that a hub pays only for those that it uses:

* `NAME.py` beside this file, with one class whose name ends in `Connector`: the connector NAME. A
  part of a system that has a file of its own is named `NAME_part.py`.
* an installed package's entry point NAME in the group `inventory_pipeline.connectors`.
* "module:callable" of one's own, written into hub.yaml as it is (docs/connectors.md).

Whatever is found is called with an `Opening`. Its `EXAMPLE`, where it has one, holds the fewest
options that build it: `inventory-pipeline connectors` shows by them what it can do.
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Capabilities, Connector, Opening

ENTRY_POINTS = "inventory_pipeline.connectors"
SUFFIX = "Connector"

Make = Callable[[Opening], Connector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One connector that hub.yaml can name, and what it can do at most.

    `capabilities` is None where that depends on options which it has no example of; `problem` says
    why it cannot be loaded.
    """

    name: str
    origin: str  # "built in", or the distribution that brings it
    capabilities: Capabilities | None = None
    problem: str = ""


def build(opening: Opening, connector_name: str) -> Connector:
    """The connector of one system, without any I/O.

    Raises HubError for an unknown name and for options that the connector does not take.
    """
    try:
        make = _found(connector_name)
    except (ImportError, AttributeError) as error:
        raise _unknown(opening, connector_name, str(error)) from error
    if make is None:
        raise _unknown(opening, connector_name, "there is no such connector")
    return make(opening)


def offers() -> Iterator[Offer]:
    """Every connector that can be named here, built in ones first, by name."""
    for name in built_in():
        yield _offer(name, "built in", partial(_of_file, name))
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        origin = point.dist.name if point.dist is not None else point.value
        yield _offer(point.name, origin, point.load)


def built_in() -> tuple[str, ...]:
    """The names of the connectors beside this file; each of these files is imported."""
    found = (module.name for module in pkgutil.iter_modules(__path__) if "_" not in module.name)
    return tuple(sorted(name for name in found if _of_file(name) is not None))


def example_options(make: object) -> Mapping[str, Any] | None:
    """The fewest options that build a connector, as it says itself."""
    return getattr(make, "EXAMPLE", None)


def _found(name: str) -> Make | None:
    module_name, colon, attribute = name.partition(":")
    if colon:
        own: Make = getattr(import_module(module_name), attribute)
        return own
    if name.isidentifier() and "_" not in name and (make := _of_file(name)) is not None:
        return make
    installed = list(entry_points(group=ENTRY_POINTS, name=name))
    if not installed:
        return None
    brought: Make = installed[0].load()
    return brought


def _of_file(name: str) -> Make | None:
    """The connector class of the file `name`; None if there is no such file, or it holds none."""
    full_name = f"{__name__}.{name}"
    try:
        module = import_module(full_name)
    except ModuleNotFoundError as error:
        if error.name == full_name:
            return None
        raise
    own = [
        value
        for key, value in vars(module).items()
        if key.endswith(SUFFIX) and isinstance(value, type) and value.__module__ == full_name
    ]
    return own[0] if len(own) == 1 else None


def _offer(name: str, origin: str, load: Callable[[], Any]) -> Offer:
    try:
        make = load()
        options = example_options(make)
        if options is None:
            return Offer(name=name, origin=origin)
        built: Connector = make(Opening(system=name, options=options, hub_folder="."))
        built.close()
    except (ImportError, AttributeError, HubError) as error:
        return Offer(name=name, origin=origin, problem=str(error))
    return Offer(name=name, origin=origin, capabilities=built.capabilities)


def _unknown(opening: Opening, name: str, why: str) -> HubError:
    installed = (point.name for point in entry_points(group=ENTRY_POINTS))
    known = ", ".join(dict.fromkeys((*built_in(), *installed)))
    return HubError(
        f"hub.yaml: systems.{opening.system}.connector: {name!r}: {why}",
        hint=f'use one of {known}, or "module:callable" of your own.',
    )
