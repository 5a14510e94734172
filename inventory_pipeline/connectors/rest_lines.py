"""Checks a system's `rest` options and says what is wrong with the line of hub.yaml where it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inventory_pipeline.connectors.rest_policy import Rest
from inventory_pipeline.core.errors import HubError
from inventory_pipeline.core.ports import Opening

FILE = "hub.yaml"


def checked(opening: Opening) -> Rest:
    """The options, typed. Raises HubError with every finding, file, line and key."""
    try:
        return Rest.model_validate(dict(opening.options))
    except ValidationError as error:
        lines = _Lines(Path(opening.hub_folder) / FILE, opening.system)
        found = [
            f"{lines.place(one['loc'])}: systems.{opening.system}.options"
            f"{_key(one['loc'])}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise HubError(
            "\n".join(found),
            hint="docs/rest.md lists the options; `inventory-pipeline probe "
            f"{opening.system} --trace` shows what each path finds.",
        ) from None


class _Lines:
    """Where the options stand in hub.yaml; without the file there are no lines."""

    def __init__(self, path: Path, system: str) -> None:
        import yaml

        try:
            root: Any = yaml.compose(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            root = None
        self._options = _inner(_inner(_inner(root, "systems"), system), "options")

    def place(self, keys: Sequence[int | str]) -> str:
        """`hub.yaml:12` of the innermost part that is there."""
        node = self._options
        for key in keys:
            inner = _inner(node, key)
            # A union's tag stands in the keys and not in the file.
            node = inner if inner is not None else node
        return f"{FILE}:{node.start_mark.line + 1}" if node is not None else FILE


def _inner(node: Any, key: int | str) -> Any:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key]
    return None


def _key(keys: Sequence[int | str]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)


def mentions(template: Any, name: str) -> bool:
    """Whether a template uses {name}."""
    if isinstance(template, str):
        return "{" + name + "}" in template
    if isinstance(template, Mapping):
        return any(mentions(value, name) for value in template.values())
    if isinstance(template, list | tuple):
        return any(mentions(value, name) for value in template)
    return False
