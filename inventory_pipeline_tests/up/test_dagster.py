"""Watching Dagster's code location, against a small server that answers as its webserver does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from inventory_pipeline.up import dagster
from inventory_pipeline.up.dagster import DefinitionsBroken, LocationWatch, definitions_loaded


class Webserver:
    """`state` is what the location is; a reload makes it what it becomes."""

    def __init__(self) -> None:
        self.state = {"__typename": "RepositoryLocation"}
        self.after_reload = {"__typename": "RepositoryLocation"}
        self.reloads = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
                if "reloadRepositoryLocation" in query:
                    outer.reloads += 1
                    outer.state = outer.after_reload
                    data = {"reloadRepositoryLocation": {"__typename": "WorkspaceLocationEntry"}}
                else:
                    entry = {"name": "hub", "locationOrLoadError": outer.state}
                    data = {"workspaceOrError": {"locationEntries": [entry]}}
                body = json.dumps({"data": data}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def webserver(monkeypatch):
    monkeypatch.setattr(dagster, "LOOK_EVERY_S", 0.0)
    server = Webserver()
    yield server
    server.close()


def broken(message: str = "Postgres does not answer") -> dict[str, str]:
    return {"__typename": "PythonError", "message": message}


def test_loaded_definitions_are_ready(webserver):
    assert definitions_loaded(webserver.port)


def test_definitions_that_do_not_load_are_a_clear_error(webserver):
    webserver.state = broken("hub.yaml:3: misspelt key")
    with pytest.raises(DefinitionsBroken, match="misspelt key"):
        definitions_loaded(webserver.port)


def test_a_code_server_that_is_still_starting_is_waited_for(webserver):
    webserver.state = broken("DagsterUserCodeUnreachableError: could not reach user code server")
    assert not definitions_loaded(webserver.port)


def test_definitions_that_broke_while_postgres_was_away_are_loaded_again_and_that_is_said(
    webserver,
):
    said: list[str] = []
    watch = LocationWatch(webserver.port, say=said.append)
    watch.look()
    assert (webserver.reloads, said) == (0, [])
    webserver.state = broken()
    watch.look()
    watch.look()
    assert (webserver.reloads, said) == (1, ["Dagster's definitions are loaded again"])


def test_definitions_that_stay_broken_are_said_once_for_each_reason(webserver):
    said: list[str] = []
    watch = LocationWatch(webserver.port, say=said.append)
    webserver.state = webserver.after_reload = broken("first line\nhub.yaml:3: misspelt key")
    for _ in range(3):
        watch.look()
    assert said == ["Dagster's definitions do not load: hub.yaml:3: misspelt key"]


def test_a_webserver_that_is_away_is_left_alone():
    said: list[str] = []
    watch = LocationWatch(1, say=said.append)
    watch.look()
    assert said == []
