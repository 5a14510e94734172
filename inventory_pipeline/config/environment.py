"""A connector's options: typed as YAML types them, with `{env: NAME}` read from the environment."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from inventory_pipeline.config.findings import Report, did_you_mean
from inventory_pipeline.config.messages import place
from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.config.yaml_tree import Path, Scalar, YamlTree

_INTEGER = re.compile(r"[-+]?(0|[1-9]\d*)")
_DECIMAL = re.compile(r"[-+]?\d+\.\d+")
_TRUE = {"true", "yes", "on"}
_SECRET_KEY = re.compile(r"(^|_)(token|secret|password|passphrase|private_key|api_key)$")


class OptionReader:
    """Reads the options of one system; what it cannot resolve becomes a finding."""

    def __init__(self, tree: YamlTree, environ: Mapping[str, str], report: Report) -> None:
        self._tree = tree
        self._environ = environ
        self._report = report

    def options(self, value: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Plain values, and a Secret wherever an environment variable is named."""
        return {key: self._value(one, (*path, key)) for key, one in value.items()}

    def _value(self, value: Any, path: Path) -> Any:
        if isinstance(value, Mapping):
            return self._reference(value, path) if "env" in value else self.options(value, path)
        if isinstance(value, list):
            return [self._value(one, (*path, n)) for n, one in enumerate(value)]
        if isinstance(value, str) and _SECRET_KEY.search(str(path[-1]).lower()):
            message = f"{place(path, self._tree)}: write {{env: NAME}}: no secret should stand here"
            self._report.warn(self._tree.file, self._tree.line(path), message)
        return _typed(value)

    def _reference(self, value: Mapping[str, Any], path: Path) -> Any:
        unknown = [key for key in value if key not in {"env", "default"}]
        name, default = value["env"], value.get("default")
        if unknown:
            hint = did_you_mean(unknown[0], ["default"])
            self._error((*path, unknown[0]), f"unknown key beside env{hint}", unknown[0])
        elif not isinstance(name, str) or not name:
            self._error((*path, "env"), "should be the name of an environment variable")
        elif not isinstance(default, str | None):
            self._error((*path, "default"), "should be a text")
        elif self._environ.get(str(name)):
            return Secret(self._environ[str(name)])
        elif default is not None:
            return Secret(str(default))
        else:
            state = "empty" if str(name) in self._environ else "not set"
            message = f"the environment variable {name} is {state}: set it, or give a default"
            self._error(path, message, name)
        return Secret("")

    def _error(self, path: Path, message: str, value: str = "") -> None:
        about = place(path, self._tree)
        self._report.error(self._tree.file, self._tree.line(path), f"{about}: {message}", value)


def _typed(value: Any) -> Any:
    """int, Decimal, bool, text or None. Unusual numbers (007, 1_000, 0x1F) stay text."""
    if not isinstance(value, Scalar):
        return value
    text = str(value)
    if value.kind == "bool":
        return text.lower() in _TRUE
    if value.kind == "int" and _INTEGER.fullmatch(text):
        return int(text)
    if value.kind == "float" and _DECIMAL.fullmatch(text):
        return Decimal(text)
    return text
