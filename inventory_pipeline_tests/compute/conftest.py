"""One engine for all small calculations of a module."""

import pytest

from inventory_pipeline_tests.compute import hubs


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with hubs.open_bench(tmp_path_factory.mktemp("landing")) as opened:
        yield opened
