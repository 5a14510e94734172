"""Connectors are named in hub.yaml and loaded when they are built."""

import subprocess
import sys

import pytest

from inventory_pipeline.connectors import CONNECTORS, build
from inventory_pipeline.connectors.files import FilesConnector
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Connector, Opening

OPTIONS = {
    "files": {"events": "*.jsonl"},
    "shopify": {"store": "acme", "access_token": "t"},
    "woocommerce": {"url": "https://x.example", "consumer_key": "k", "consumer_secret": "s"},
}


def opening(name: str) -> Opening:
    return Opening(system="sys", options=OPTIONS[name], hub_folder=".")


@pytest.mark.parametrize("name", list(CONNECTORS))
def test_every_name_builds_a_connector(name):
    connector = build(opening(name), name)
    assert isinstance(connector, Connector)
    assert connector.system == "sys"
    connector.close()


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(HubError, match="files, shopify, woocommerce") as error:
        build(opening("files"), "shopfiy")
    assert "systems.sys.connector: 'shopfiy'" in str(error.value)


def test_a_connector_of_ones_own_is_named_by_its_module():
    own = "inventory_pipeline.connectors.files:FilesConnector"
    assert isinstance(build(opening("files"), own), FilesConnector)


@pytest.mark.parametrize("name", ["no.such.module:Thing", "json:NoSuchThing"])
def test_a_module_that_is_not_there_is_named(name):
    with pytest.raises(HubError, match=name.split(":")[0]):
        build(opening("files"), name)


def test_connectors_cost_nothing_until_they_are_built():
    code = (
        "import sys, inventory_pipeline.connectors; "
        "print([m for m in ('httpx', 'pandas', 'pyarrow', 'stamina') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
