"""Collecting everything that is wrong, so that one run names it all."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches

from inventory_pipeline.core.errors import Finding

POLICY_FILE = "hub.yaml"
# A catalogue with one wrong column has as many findings as rows: the first ones say enough.
MAX_FINDINGS_PER_FILE = 1000
MAX_VALUE_LENGTH = 80


class Report:
    """Findings of one look at a hub folder, bounded per file."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._count: Counter[str] = Counter()

    def error(self, file: str, line: int, message: str, value: object = "") -> None:
        self._add(file, line, message, value, "error")

    def warn(self, file: str, line: int, message: str, value: object = "") -> None:
        self._add(file, line, message, value, "warning")

    def _add(self, file: str, line: int, message: str, value: object, severity: str) -> None:
        # Warnings and errors have their own room, so that no flood of one hides the other.
        self._count[f"{severity} {file}"] += 1
        if self._count[f"{severity} {file}"] > MAX_FINDINGS_PER_FILE:
            return
        shown = "" if value is None else str(value)
        if len(shown) > MAX_VALUE_LENGTH:
            shown = shown[: MAX_VALUE_LENGTH - 1] + "…"
        finding = Finding(file=file, line=line, message=message, value=shown, severity=severity)
        self._findings.append(finding)

    def findings(self) -> list[Finding]:
        """Everything found: hub.yaml first, then the other files, each by line."""
        found = sorted(self._findings, key=lambda f: (f.file != POLICY_FILE, f.file, f.line))
        for name, count in sorted(self._count.items()):
            severity, file = name.split(" ", 1)
            left_out = count - MAX_FINDINGS_PER_FILE
            if left_out > 0:
                message = f"{left_out} more {severity}s in this file are not shown"
                found.append(Finding(file=file, line=0, message=message, severity=severity))
        return found


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` - did you mean 'x'?`, or nothing where no known word is near."""
    by_lower = {k.lower(): k for k in known}
    near = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" - did you mean '{by_lower[near[0]]}'?" if near else ""


def listed(words: Iterable[str], *, most: int = 6) -> str:
    """`a, b, c and 12 more`: a bounded list for a message."""
    all_words = list(words)
    more = len(all_words) - most
    return ", ".join(all_words[:most]) + (f" and {more} more" if more > 0 else "")
