"""Facts about the machine, noted with every figure."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import psutil

GIB = 1024**3
PACKAGES = ("duckdb", "pandas", "polars", "pyarrow", "pandera", "psycopg", "dagster")


def facts() -> str:
    """Cores, memory, and versions of what is measured, in one line."""
    memory = psutil.virtual_memory().total / GIB
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def load() -> str:
    """How busy the machine was before; figures of a busy machine are not comparable."""
    return f"load {os.getloadavg()[0]:.1f}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
