"""What an example starts beside its hub: its `demo.yaml` as processes and settings.

```yaml
prepare: package.module          # has prepare(example_folder, working_folder)
shops:                           # one server process each; a port is allotted to each name
  shop:
    module: package.module       # started as `python -m package.module`
    arguments: {port: "{port}", state: "{state}/shop.sqlite", catalog: "{hub}/catalog/items.csv"}
    env: {SHOP_URL: "{url}"}     # settings that hub.yaml refers to
replay:
  module: package.module
  arguments: {hub: "{hub}", state: "{state}/replay.sqlite", shop-url: "{shop_url}"}
  seconds: 75
```

Values are text in which `{port}` and `{url}` are the shop's own, `{NAME_url}` is the address of the
shop NAME, `{hub}` the working hub folder, `{state}` the folder of the demo's own state and
`{hub_url}` the hub's address.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inventory_pipeline.core.errors import ConfigInvalid, Finding

FILE = "demo.yaml"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFolders:
    """`hub`: the working hub folder that `prepare` wrote. `state`: the simulators' own files."""

    hub: Path
    state: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoProcess:
    """A server to start; it is ready when `ready_url` answers 200."""

    name: str
    argv: list[str]
    ready_url: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One simulated shop of demo.yaml, placeholders not yet filled."""

    name: str
    module: str
    arguments: Mapping[str, str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """An example's demo.yaml."""

    folder: Path
    prepare_module: str
    shops: tuple[Shop, ...]
    replay_module: str
    replay_arguments: Mapping[str, str]
    replay_seconds: float

    @property
    def port_names(self) -> tuple[str, ...]:
        """One port is wanted for each of these."""
        return tuple(shop.name for shop in self.shops)

    def prepare(self, working_folder: Path) -> None:
        """Writes the working hub folder; what is there already stays. Repeatable."""
        importlib.import_module(self.prepare_module).prepare(self.folder, working_folder)

    def env(self, ports: Mapping[str, int]) -> dict[str, str]:
        """The environment that the hub's `{env: NAME}` settings need."""
        found: dict[str, str] = {}
        for shop in self.shops:
            values = _addresses(self.shops, ports) | _own(shop, ports)
            found |= {name: text.format_map(values) for name, text in shop.env.items()}
        return found

    def processes(
        self, ports: Mapping[str, int], folders: DemoFolders, hub_url: str
    ) -> list[DemoProcess]:
        """The servers to start, in order; `hub_url` is the hub's receiver, as http://host:port."""
        started = []
        for shop in self.shops:
            values = self._values(ports, folders) | _own(shop, ports) | {"hub_url": hub_url}
            argv = _argv(shop.module, shop.arguments, values)
            url = values["url"] + "/control/ready"
            started.append(
                DemoProcess(name=shop.name, argv=argv, ready_url=url, port=ports[shop.name])
            )
        return started

    def replay(
        self, ports: Mapping[str, int], folders: DemoFolders, *, seconds: float | None = None
    ) -> list[str]:
        """The replay's command line. It prints one JSON object a line and ends with 0.

        Lines are {"step": text, "done": count, "total": count}; the last one has "summary" as well.
        """
        wanted = self.replay_seconds if seconds is None else seconds
        arguments = {**self.replay_arguments, "seconds": str(wanted)}
        return _argv(self.replay_module, arguments, self._values(ports, folders))

    def _values(self, ports: Mapping[str, int], folders: DemoFolders) -> dict[str, str]:
        return _addresses(self.shops, ports) | {
            "hub": str(folders.hub),
            "state": str(folders.state),
        }


def load_demo(folder: Path) -> Demo | None:
    """The example's demo, or None if the folder has no demo.yaml. Raises ConfigInvalid."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _invalid(f"not readable as YAML: {error}") from error
    top = _mapping(written, "the file", required={"prepare", "shops", "replay"}, optional=set())
    replay = _mapping(
        top["replay"], "replay", required={"module", "arguments"}, optional={"seconds"}
    )
    shops = _mapping(top["shops"], "shops", required=set(), optional=None)
    demo = Demo(
        folder=folder,
        prepare_module=str(top["prepare"]),
        shops=tuple(_shop(name, shop) for name, shop in shops.items()),
        replay_module=str(replay["module"]),
        replay_arguments=_texts(replay["arguments"], "replay.arguments"),
        replay_seconds=_seconds(replay.get("seconds", 75)),
    )
    _try_placeholders(demo)
    return demo


def _shop(name: str, written: Any) -> Shop:
    where = f"shops.{name}"
    shop = _mapping(written, where, required={"module", "arguments"}, optional={"env"})
    return Shop(
        name=name,
        module=str(shop["module"]),
        arguments=_texts(shop["arguments"], f"{where}.arguments"),
        env=_texts(shop.get("env", {}), f"{where}.env"),
    )


def _try_placeholders(demo: Demo) -> None:
    """Fills every placeholder once, so that a misspelt one is found before anything starts."""
    ports = dict.fromkeys(demo.port_names, 1)
    folders = DemoFolders(hub=demo.folder, state=demo.folder)
    try:
        demo.env(ports)
        demo.processes(ports, folders, hub_url="http://127.0.0.1:1")
        demo.replay(ports, folders)
    except (KeyError, ValueError, IndexError) as error:
        raise _invalid(f"unknown or broken placeholder: {error}") from error


def _addresses(shops: tuple[Shop, ...], ports: Mapping[str, int]) -> dict[str, str]:
    return {f"{shop.name}_url": f"http://{HOST}:{ports[shop.name]}" for shop in shops}


def _own(shop: Shop, ports: Mapping[str, int]) -> dict[str, str]:
    port = ports[shop.name]
    return {"port": str(port), "url": f"http://{HOST}:{port}"}


def _argv(module: str, arguments: Mapping[str, str], values: Mapping[str, str]) -> list[str]:
    argv = [sys.executable, "-m", module]
    for name, text in arguments.items():
        argv += [f"--{name}", text.format_map(values)]
    return argv


def _seconds(written: Any) -> float:
    if isinstance(written, bool) or not isinstance(written, int | float) or written <= 0:
        raise _invalid("replay.seconds must be a number above 0", value=str(written))
    return float(written)


def _texts(written: Any, where: str) -> dict[str, str]:
    return {
        name: str(value)
        for name, value in _mapping(written, where, required=set(), optional=None).items()
    }


def _mapping(
    written: Any, where: str, *, required: set[str], optional: set[str] | None
) -> dict[str, Any]:
    """`written` as a mapping with these keys; `optional` None: any further keys are allowed."""
    if not isinstance(written, dict):
        raise _invalid(f"{where} must be a mapping", value=str(written))
    keys = {str(key) for key in written}
    if missing := sorted(required - keys):
        raise _invalid(f"{where} lacks {', '.join(missing)}")
    if optional is not None and (unknown := sorted(keys - required - optional)):
        raise _invalid(f"{where} has unknown keys: {', '.join(unknown)}")
    return {str(key): value for key, value in written.items()}


def _invalid(message: str, *, value: str = "") -> ConfigInvalid:
    return ConfigInvalid([Finding(file=FILE, line=0, message=message, value=value)])
