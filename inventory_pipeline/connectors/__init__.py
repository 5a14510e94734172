"""Connectors: one file a system, all of the same protocol (`core.ports.Connector`).

A connector is named in hub.yaml and loaded when it is built, so that a hub pays only for those that
it uses.
"""

from collections.abc import Mapping
from importlib import import_module

from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Connector, Opening

# Name in hub.yaml → "module:callable"; the callable takes an Opening and returns a Connector.
CONNECTORS: Mapping[str, str] = {
    "files": "inventory_pipeline.connectors.files:FilesConnector",
    "shopify": "inventory_pipeline.connectors.shopify:ShopifyConnector",
    "woocommerce": "inventory_pipeline.connectors.woocommerce:WooCommerceConnector",
}


def build(opening: Opening, connector_name: str) -> Connector:
    """The connector of one system, without any I/O.

    `connector_name` is one of CONNECTORS or a "module:callable" of one's own (docs/connectors.md).
    Raises HubError for an unknown name and for options that the connector does not take.
    """
    target = CONNECTORS.get(connector_name, connector_name)
    module_name, colon, attribute = target.partition(":")
    if not (colon and module_name and attribute):
        raise _unknown(opening, connector_name, "there is no such connector")
    try:
        make = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise _unknown(opening, connector_name, str(error)) from error
    connector: Connector = make(opening)
    return connector


def _unknown(opening: Opening, name: str, why: str) -> HubError:
    return HubError(
        f"hub.yaml: systems.{opening.system}.connector: {name!r}: {why}",
        hint=f'use one of {", ".join(CONNECTORS)}, or "module:callable" of your own.',
    )
