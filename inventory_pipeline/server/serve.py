"""Runs the application until it is told to stop."""

import signal
import threading
from collections.abc import Callable

import structlog

from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.server.app import HOST, create_app
from inventory_pipeline.server.logs import configure_logs
from inventory_pipeline.server.pollers import Intake

log = structlog.get_logger("server")


def serve(ctx: HubContext, *, port: int, intake: bool, dagster_url: str, host: str = HOST) -> None:
    """Receiver, API and pages on `host`:`port`; returns after SIGTERM or Ctrl-C."""
    import uvicorn

    configure_logs()
    app = create_app(ctx, intake=intake, dagster_url=dagster_url)
    # After its own shutdown the server raises the signal again: then we go on and close the hub.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log.info("serving", address=f"http://{host}:{port}", intake=intake)
    uvicorn.run(
        app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=5
    )


def poll(ctx: HubContext) -> None:
    """The intake alone; returns after SIGTERM or Ctrl-C."""
    configure_logs()
    intake = Intake(ctx)
    intake.start()
    log.info("polling", systems=sorted(ctx.connectors))
    wait_for_signal()
    intake.stop()


def wait_for_signal(woken: Callable[[], bool] = lambda: False) -> None:
    """Returns at SIGTERM, at Ctrl-C, or as soon as `woken` says so (asked every second)."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    while not told.wait(1.0):
        if woken():
            return
