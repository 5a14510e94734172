"""Ports that are taken, free, or free again."""

import os
import socket

import pytest

from inventory_pipeline.core.errors import PortTaken
from inventory_pipeline.up.ports import free_ports, require_free


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_names_who_has_it_and_what_to_set(taken):
    with pytest.raises(PortTaken) as caught:
        require_free(taken, wanted_by="the pages", flag="--port", variable="HUB_PORT")
    message = str(caught.value)
    assert str(taken) in message
    assert f"process {os.getpid()}" in message
    assert "--port PORT" in message
    assert "HUB_PORT=PORT" in message


def test_a_free_port_passes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    require_free(port, wanted_by="the pages", flag="--port", variable="HUB_PORT")


def test_every_name_gets_a_port_of_its_own():
    ports = free_ports(("shop", "market", "third"), before={})
    assert len(set(ports.values())) == 3


def test_a_name_keeps_its_port_while_that_is_free(taken):
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = server.getsockname()[1]
    ports = free_ports(("shop", "market"), before={"shop": before, "market": taken})
    assert ports["shop"] == before
    assert ports["market"] != taken
