"""One Tryton and one Vendure for all tests that need them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory_pipeline_tests.real_systems import servers
from inventory_pipeline_tests.real_systems.erp import Erp
from inventory_pipeline_tests.real_systems.shop import Shop


@pytest.fixture(scope="session")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erp]:
    """A company with two warehouses, WH and WH2, and no products."""
    folder = Path(tmp_path_factory.mktemp("tryton"))
    with servers.tryton(folder) as server, contextlib.closing(Erp(server)) as erp:
        yield erp


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with one stock location and no products; its webhooks go to `shop.hub_url`."""
    hub_url = f"http://127.0.0.1:{servers.free_port()}/hooks/shop"
    folder = Path(tmp_path_factory.mktemp("vendure"))
    started = servers.vendure(folder, hub_url=hub_url)
    with started as server, contextlib.closing(Shop(server, hub_url)) as shop:
        yield shop
