"""A private MariaDB server: own folder, own port on this machine only, gone afterwards."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

START_S = 60.0
# Debian keeps the server outside of most users' PATH.
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


@dataclass(frozen=True, slots=True, kw_only=True)
class MariaDb:
    """A running server with the database `erp` and the user `reader`, who may only SELECT there."""

    port: int

    def run(self, *statements: str, database: str | None = "erp") -> None:
        """As the administrator, in one transaction."""
        with contextlib.closing(self.connected(database)) as connection:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            connection.commit()

    def connected(self, database: str | None = "erp") -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, connect_timeout=5
        )

    def url(self, *, password: str = "right", database: str = "erp", kind: str = "mariadb") -> str:
        return f"{kind}://reader:{password}@127.0.0.1:{self.port}/{database}"


def missing() -> str:
    """Why there can be no server here; "" if there can."""
    lacking = [name for name in ("mariadbd", "mariadb-install-db") if _found(name) is None]
    if not lacking:
        return ""
    return f"no {' and no '.join(lacking)} here: on Debian, apt-get install mariadb-server"


@contextlib.contextmanager
def mariadb(folder: Path) -> Iterator[MariaDb]:
    """A server whose data are in `folder`. RuntimeError with its log if it does not start."""
    data, log = folder / "data", folder / "mariadb.log"
    # Only root must say as whom to run; nobody else may.
    user = ["--user=root"] if os.geteuid() == 0 else []
    install = [
        str(_found("mariadb-install-db")), "--no-defaults", f"--datadir={data}",
        "--auth-root-authentication-method=normal", "--skip-test-db", *user,
    ]  # fmt: skip
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mariadb-install-db: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    server = MariaDb(port=_free_port())
    command = [
        str(_found("mariadbd")), "--no-defaults", f"--datadir={data}", f"--port={server.port}",
        "--bind-address=127.0.0.1", f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}",
        "--skip-log-bin", "--innodb-buffer-pool-size=32M", "--default-time-zone=+02:00", *user,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _wait(server, process, log)
            server.run(
                "CREATE DATABASE erp CHARACTER SET utf8mb4",
                "CREATE USER reader@'%' IDENTIFIED BY 'right'",
                "GRANT SELECT ON erp.* TO reader@'%'",
                database=None,
            )
            yield server
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(server: MariaDb, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            server.connected(None).close()
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mariadbd did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)
        else:
            return


def _found(name: str) -> str | None:
    return shutil.which(name, path=PLACES)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
