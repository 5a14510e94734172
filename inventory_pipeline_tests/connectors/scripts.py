"""A server that answers whatever a test writes: every method, and tokens beside the script."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from inventory_pipeline_tests.connectors.servers import Reply, Script

TOKEN = {"access_token": "Atza|1", "expires_in": 3600, "token_type": "bearer"}


@contextlib.contextmanager
def scripted(*replies: Reply, token: Reply | None = None) -> Iterator[Script]:
    """Answers in order, the last one again and again; `token` is for /auth/o2/token."""
    script = Script(replies=list(replies))
    for_token = token or Reply(body=TOKEN)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asks_token = self.path.startswith("/auth/")
            if asks_token:
                reply = for_token
            else:
                script.asked.append((self.path, json.loads(raw) if raw else None))
                reply = script.next()
            time.sleep(reply.wait_s)
            if reply.hang_up:
                self.connection.close()
                return
            content = reply.content()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) + (100 if reply.cut else 0)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)
            self.close_connection = True

        do_GET = do_PATCH = do_PUT = do_POST  # noqa: N815 - the names that http.server asks for

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that gives up is what is being tested."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield script
    server.shutdown()
    server.server_close()
