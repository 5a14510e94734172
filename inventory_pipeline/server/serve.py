"""Runs the application until it is told to stop."""

import signal
import threading
from collections.abc import Callable

import structlog

from inventory_pipeline.config.logs import configure_logs
from inventory_pipeline.flow.context import HubContext
from inventory_pipeline.server.app import HOST, create_app
from inventory_pipeline.server.live import LiveApp, Renewals
from inventory_pipeline.server.pollers import Intake

log = structlog.get_logger("server")


def serve(ctx: HubContext, *, port: int, intake: bool, dagster_url: str, host: str = HOST) -> None:
    """Receiver, API and pages on `host`:`port`; returns after SIGTERM or Ctrl-C.

    A changed policy, catalogue or mode is taken up within a second or two.
    """
    import uvicorn

    configure_logs()
    app = LiveApp(
        ctx, lambda now: create_app(now, intake=intake, dagster_url=dagster_url, host=host)
    )
    # After its own shutdown the server raises the signal again: then we go on and close the hub.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log.info("serving", address=f"http://{host}:{port}", intake=intake)
    uvicorn.run(
        app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=5
    )


def poll(ctx: HubContext) -> None:
    """The intake alone; returns after SIGTERM or Ctrl-C. Takes up a changed hub as `serve` does."""
    configure_logs()
    renewals = Renewals(ctx)
    told = threading.Event()
    while not told.is_set():
        old = renewals.ctx
        intake = Intake(old)
        intake.start()
        log.info("polling", systems=sorted(old.connectors))
        wait_for_signal(lambda: renewals.look() is not None, told)
        intake.stop()
        renewals.retire(old)
    renewals.close()


def wait_for_signal(
    woken: Callable[[], bool] = lambda: False, told: threading.Event | None = None
) -> None:
    """Returns at SIGTERM, at Ctrl-C, or as soon as `woken` says so (asked every second).

    `told` is set by the signals alone.
    """
    signalled = told or threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signalled.set())
    while not signalled.wait(1.0):
        if woken():
            return
