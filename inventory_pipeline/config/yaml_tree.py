"""hub.yaml as a tree that knows its lines.
 Scalars keep their text exactly as written, and the schema decides what a text means. So `12.5`
never passes through a float, an id `0123` is not octal, a region `NO` is not false, and a bare
`off` is the mode off.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from inventory_pipeline.config.findings import Report

Path: TypeAlias = tuple[str | int, ...]
MAX_NODES = 1_000_000  # aliases can make a small file huge
MAX_DEPTH = 60

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {_TAG + t for t in ("str", "int", "float", "bool", "null", "timestamp", "value")}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(str):
    """The text of one YAML scalar. `kind` is what YAML reads it as: str, int, float, bool, …"""

    __slots__ = ("kind",)
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlTree:
    """`value` is made of dict, list, Scalar and None; `lines` gives each path its 1-based line."""

    file: str
    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of the path, or of the nearest part above it that stands in the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1

    def at(self, path: Path) -> Any:
        """The value at the path, or None where there is none."""
        value = self.value
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def read_yaml(text: str, file: str, report: Report) -> YamlTree | None:
    """The file's tree; None, with a finding, where YAML itself cannot be read."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        report.error(file, _error_line(error, text), f"not readable as YAML: {_problem(error)}")
        return None
    if node is None:
        report.error(file, 1, "the file is empty: it needs at least `hub`, `locations`, `systems`")
        return None
    reader = _Reader(file, report)
    value = reader.value(node, ())
    return YamlTree(file=file, value=value, lines=reader.lines)


def _error_line(error: yaml.YAMLError, text: str) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    position = getattr(error, "position", 0)
    return text.count("\n", 0, position) + 1


def _problem(error: yaml.YAMLError) -> str:
    # Not str(error): that quotes the line, and a line may hold a secret.
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "syntax error"
    alias = getattr(error, "context", None) == "while scanning an alias"
    if alias or problem.startswith("found undefined alias"):
        return 'a text that begins with * must stand in quotes: "*"'
    return f"{problem}. Look at indentation, quotes and brackets here and just above"


class _Reader:
    """Walks composed nodes once, noting the line of every path."""

    def __init__(self, file: str, report: Report) -> None:
        self.file = file
        self.report = report
        self.lines: dict[Path, int] = {}
        self._nodes = 0
        self._full = False

    def value(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            if not self._full:
                self.report.error(self.file, line, "too large or too deep: look for an alias loop")
            self._full = True
            return None
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(child, (*path, n)) for n, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALAR_TAGS:
            return _scalar(node)
        self.report.error(
            self.file, line, "this YAML tag is not supported here: write the plain value", node.tag
        )
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.report.error(self.file, line, "a key must be one word or text")
                continue
            if key_node.tag == _TAG + "merge":
                self._merge(value_node, path, merged)
                continue
            key = str(key_node.value)
            if key in found:
                first = self.lines[(*path, key)]
                message = f"the key '{key}' stands twice here; the first is in line {first}"
                self.report.error(self.file, line, message, key)
                continue
            self.lines[(*path, key)] = line
            found[key] = self.value(value_node, (*path, key))
        return {**merged, **found}

    def _merge(self, node: yaml.Node, path: Path, into: dict[str, Any]) -> None:
        """`<<: *other`: keys of the other mapping, which the mapping's own keys override."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for one in nodes:
            if not isinstance(one, yaml.MappingNode):
                line = one.start_mark.line + 1
                self.report.error(self.file, line, "`<<` takes a mapping or a list of mappings")
                continue
            for key, value in self._mapping_apart(one, path).items():
                into.setdefault(key, value)

    def _mapping_apart(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        """A merged mapping's values; its lines count only where the path has none yet."""
        before = dict(self.lines)
        value: dict[str, Any] = self._mapping(node, path)
        self.lines.update(before)
        return value


def _scalar(node: yaml.ScalarNode) -> Scalar | None:
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    scalar = Scalar(node.value)
    scalar.kind = kind
    return scalar
