"""Ports: free, or a message that names who has them."""

import socket

import psutil

from inventory_pipeline.core.errors import PortTaken

HOST = "127.0.0.1"


def require_free(port: int, *, wanted_by: str, flag: str, variable: str) -> None:
    """Raises PortTaken, naming the port, its owner if that may be seen, and what to set."""
    if _is_free(port):
        return
    raise PortTaken(
        f"port {port}, wanted for {wanted_by}, is taken by {_owner(port)}",
        hint=f"end that, or choose another port with {flag} PORT or {variable}=PORT.",
    )


def free_ports(names: tuple[str, ...], *, before: dict[str, int]) -> dict[str, int]:
    """A free port for each name: the one it had `before` where that is free again."""
    chosen: dict[str, int] = {}
    for name in names:
        earlier = before.get(name)
        free = earlier is not None and earlier not in chosen.values() and _is_free(earlier)
        chosen[name] = earlier if earlier is not None and free else _any_free(set(chosen.values()))
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port that only waits out its last connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_free(taken: set[int]) -> int:
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
    raise PortTaken("no free port was found in 100 tries", hint="end some programs that listen.")


def _owner(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listening = connection.status == psutil.CONN_LISTEN and bool(connection.laddr)
            if listening and port in connection.laddr and connection.pid is not None:
                process = psutil.Process(connection.pid)
                command = " ".join(process.cmdline())[:120] or process.name()
                return f"process {connection.pid} ({command})"
    except psutil.Error:
        pass  # other users' processes may not be looked at
    return "another process, which this user may not look at"
