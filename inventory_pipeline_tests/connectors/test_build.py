"""Connectors are named in hub.yaml and loaded when they are built."""

import subprocess
import sys

import pytest

from inventory_pipeline.connectors import build, built_in, offers
from inventory_pipeline.connectors.files import FilesConnector
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Connector, Opening

FILES = Opening(system="sys", options={"events": "*.jsonl"}, hub_folder=".")

ACME = """\
from inventory_pipeline.core.ports import Capabilities


class Acme:
    EXAMPLE = {}

    def __init__(self, opening):
        self.system = opening.system
        self.capabilities = Capabilities(changes=True)

    def close(self):
        pass
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """An installed package that brings the connector `acme`."""
    (tmp_path / "acme_wms.py").write_text(ACME)
    about = tmp_path / "acme_wms-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-wms\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[inventory_pipeline.connectors]\nacme = acme_wms:Acme\nbroken = acme_wms:Nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("acme_wms", None)


@pytest.mark.parametrize("offer", list(offers()), ids=lambda offer: offer.name)
def test_every_name_builds_a_connector_from_its_own_example(offer):
    assert offer.problem == ""
    assert offer.capabilities is not None, f"{offer.name} has no EXAMPLE"


def test_the_files_beside_the_registry_are_the_names():
    assert {"files", "shopify", "woocommerce"} <= set(built_in())
    assert not {"http", "options", "tables", "signatures"} & set(built_in())


def test_an_unknown_name_says_which_there_are(acme):
    with pytest.raises(HubError, match=r"files, .*shopify, .*woocommerce, acme") as error:
        build(FILES, "shopfiy")
    assert "systems.sys.connector: 'shopfiy'" in str(error.value)


@pytest.mark.parametrize("name", ["http", "shopify_orders", "../files", "", "os"])
def test_what_is_no_connector_is_no_name(name):
    with pytest.raises(HubError, match="there is no such connector"):
        build(FILES, name)


def test_a_connector_of_ones_own_is_named_by_its_module():
    own = "inventory_pipeline.connectors.files:FilesConnector"
    assert isinstance(build(FILES, own), FilesConnector)


def test_an_installed_package_brings_one_by_its_entry_point(acme):
    found = {offer.name: offer for offer in offers()}
    assert found["acme"].origin == "acme-wms"
    assert found["acme"].capabilities is not None
    assert found["acme"].capabilities.changes
    assert "Nothing" in found["broken"].problem
    assert build(FILES, "acme").system == "sys"


@pytest.mark.parametrize("name", ["no.such.module:Thing", "json:NoSuchThing"])
def test_a_module_that_is_not_there_is_named(name):
    with pytest.raises(HubError, match=name.split(":")[0]):
        build(FILES, name)


def test_what_is_built_keeps_the_protocol():
    assert isinstance(build(FILES, "files"), Connector)


def test_connectors_cost_nothing_until_they_are_built():
    code = (
        "import sys, inventory_pipeline.connectors; "
        "print([m for m in ('httpx', 'pandas', 'pyarrow', 'stamina') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
