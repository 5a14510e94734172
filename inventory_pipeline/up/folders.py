"""Where a hub's files are: the folder that was named, the one it works in, and its state."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inventory_pipeline.core.errors import ConfigInvalid, Finding

STATE = "HUB_STATE"
DEMO_FILE = "demo.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """`named`: as given. `hub`: the folder that is worked in; an example's is a prepared copy in
    its state.
    """

    named: Path
    hub: Path
    state: Path

    @property
    def is_demo(self) -> bool:
        """The named folder is an example that brings its own shops and its own traffic."""
        return self.named != self.hub

    @property
    def postgres(self) -> Path:
        return self.state / "postgres"

    @property
    def dagster(self) -> Path:
        return self.state / "dagster"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def demo(self) -> Path:
        return self.state / "demo"


def folders_of(
    named: Path,
    state: Path | None = None,
    *,
    demo: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> Folders:
    """Absolute folders of the hub `named`; nothing is made. Raises ConfigInvalid if there is no
    such folder.
    """
    if not named.is_dir():
        raise ConfigInvalid(
            [Finding(file=str(named), line=0, message="there is no such hub folder")]
        )
    named = named.resolve()
    chosen = state or (Path(environ[STATE]) if environ.get(STATE) else named / ".state")
    chosen = chosen.resolve()
    prepared = demo and (named / DEMO_FILE).exists()
    return Folders(named=named, hub=chosen / "hub" if prepared else named, state=chosen)
