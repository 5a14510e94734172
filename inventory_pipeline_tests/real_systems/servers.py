"""Tryton and Vendure, installed once from pinned versions and started on loopback in folders of
their own.

What is installed stays in a cache folder, named by the content of what pins it; nothing of it is
shared between test runs but read-only programs and an empty database. Where a program or a package
registry cannot be had, the tests say so and are skipped.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "tryton-vendure"
REST_EXAMPLE = EXAMPLE.parent / "vendure-rest"
CACHE = Path(
    os.environ.get("INVENTORY_PIPELINE_TEST_CACHE")
    or Path.home() / ".cache" / "inventory-pipeline-tests"
)
PASSWORD = "hub-Secret-1"
WEBHOOK_SECRET = "a-webhook-secret"
TRYTON_CONF = """\
[web]
listen = 127.0.0.1:{port}
[database]
uri = sqlite://
path = {folder}
[session]
authentications = password
[queue]
worker = False
"""


@dataclass(frozen=True)
class Server:
    """A server that runs: its address, its folder, and its process."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]


@contextlib.contextmanager
def tryton(folder: Path) -> Iterator[Server]:
    """Tryton on a copy of the empty database; user admin, password PASSWORD."""
    home = installed_tryton()
    shutil.copy(home / "empty.sqlite", folder / "tryton.sqlite")
    port = free_port()
    (folder / "trytond.conf").write_text(TRYTON_CONF.format(port=port, folder=folder))
    command = [home / "venv/bin/trytond", "-c", folder / "trytond.conf", "-d", "tryton"]
    with _running(command, folder, f"http://127.0.0.1:{port}", dict(os.environ)) as server:
        yield server


@contextlib.contextmanager
def vendure(folder: Path, *, port: int = 0, hub_url: str = "") -> Iterator[Server]:
    """Vendure with its sample data; administrator superadmin, password PASSWORD."""
    home = installed_vendure()
    for name in ("server.js", "inventory-webhooks.js"):
        shutil.copy(EXAMPLE / "vendure" / name, folder / name)
    (folder / "node_modules").symlink_to(home / "node_modules")
    port = port or free_port()
    environment = {
        **os.environ,
        "PORT": str(port),
        "DATABASE": str(folder / "shop.sqlite"),
        "ADMIN_PASSWORD": PASSWORD,
        "HUB_URL": hub_url,
        "HUB_SECRET": WEBHOOK_SECRET,
    }
    command = [_program("node"), "server.js"]
    url = f"http://127.0.0.1:{port}"
    with _running(command, folder, url, environment, ready="ready") as server:
        yield server


def installed_tryton() -> Path:
    """Its programs, and an empty database with the modules that the tests need."""
    return _once("tryton", [EXAMPLE / "tryton" / "requirements.txt"], _install_tryton)


def installed_vendure() -> Path:
    """Its packages."""
    files = [EXAMPLE / "vendure" / name for name in ("package.json", "package-lock.json")]
    return _once("vendure", files, _install_vendure)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def _running(
    command: list[Path | str], folder: Path, url: str, environment: dict[str, str], ready: str = ""
) -> Iterator[Server]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, env=environment, stdout=log, stderr=log
        )
    server = Server(url, folder, process)
    try:
        deadline = time.monotonic() + 120
        while not (_answers(url) and ready in server.log()):
            assert process.poll() is None, f"{command[0]} ended:\n{server.log()}"
            assert time.monotonic() < deadline, f"{command[0]} does not start:\n{server.log()}"
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=2, trust_env=False)
    except httpx.HTTPError:
        return False
    return True


def _once(name: str, pins: list[Path], install) -> Path:
    """The cache folder of these pins, filled by the first who needs it."""
    digest = hashlib.sha256()
    for path in pins:
        digest.update(path.read_bytes())
    digest.update(f"{sys.version_info[:2]}".encode())
    home = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            install(home, pins)
            (home / "complete").touch()
    return home


def _install_tryton(home: Path, pins: list[Path]) -> None:
    _run([sys.executable, "-m", "venv", home / "venv"], "python3-venv is not there")
    pip = [home / "venv/bin/python", "-m", "pip", "install", "--quiet"]
    _run([*pip, "--require-hashes", "-r", pins[0]], "Tryton's packages cannot be had")
    (home / "passfile").write_text(PASSWORD)
    (home / "tryton.sqlite").touch()
    (home / "trytond.conf").write_text(TRYTON_CONF.format(port=0, folder=home))
    command = [
        home / "venv/bin/trytond-admin", "-c", home / "trytond.conf", "-d", "tryton",
        "--email", "hub@example.com", "--activate-dependencies", "--no-indexes",
        "-u", "company", "product", "stock",
    ]  # fmt: skip
    environment = {**os.environ, "TRYTONPASSFILE": str(home / "passfile")}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    (home / "tryton.sqlite").rename(home / "empty.sqlite")


def _install_vendure(home: Path, pins: list[Path]) -> None:
    for path in pins:
        shutil.copy(path, home / path.name)
    options = ["--no-audit", "--no-fund", "--omit=dev"]
    _run([_program("npm"), "ci", *options], "Vendure's packages cannot be had", cwd=home)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install nodejs npm)")
    return found


def _run(command: list[Path | str], why: str, cwd: Path | None = None) -> None:
    parts = [str(part) for part in command]
    done = subprocess.run(parts, cwd=cwd, capture_output=True, timeout=900, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
        pytest.skip(f"{why}: {said}")


if __name__ == "__main__":
    # Before the tests, so that none of them waits for a network: python -m …real_systems.servers
    for install in (installed_tryton, installed_vendure):
        try:
            sys.stdout.write(f"{install()}\n")
        except pytest.skip.Exception as why:
            sys.stdout.write(f"not installed: {why}\n")
