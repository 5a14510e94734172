"""Landing files: the accepted rows of one snapshot each, immutable."""

import hashlib
import os
import re
from pathlib import Path

from inventory_pipeline.core.ledger import CheckedSnapshot

MAX_SLUG = 80


def write_parquet(state: Path, snapshot: CheckedSnapshot) -> Path:
    """Writes the rows under a name of their content; durable before this returns.

    The name sorts by as_of, then source: of two snapshots of one moment the later name counts.
    """
    import pyarrow.parquet as pq

    folder = state / "landing" / snapshot.system
    folder.mkdir(parents=True, exist_ok=True)
    moment = f"{snapshot.as_of:%Y%m%dT%H%M%S}.{snapshot.as_of.microsecond:06d}Z"
    slug = re.sub(r"[^A-Za-z0-9.]", "_", snapshot.source)[:MAX_SLUG]
    named = hashlib.sha256(f"{snapshot.source}\n{snapshot.key}".encode()).hexdigest()[:16]
    path = folder / f"{moment}-{slug}-{named}.parquet"
    unfinished = folder / f".{path.name}.{os.getpid()}.tmp"
    with unfinished.open("wb") as file:
        pq.write_table(snapshot.rows, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync_folder(folder)
    return path


def _sync_folder(folder: Path) -> None:
    """Makes the new name itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
