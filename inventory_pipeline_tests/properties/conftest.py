"""One engine for a module, and the count of the histories that were tried."""

import pytest

from inventory_pipeline_tests.compute import hubs


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with hubs.open_bench(tmp_path_factory.mktemp("landing")) as opened:
        yield opened


def pytest_terminal_summary(terminalreporter):
    counts = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            name = getattr(report, "nodeid", "").partition("[")[0].rpartition("::")[2]
            for key, value in getattr(report, "user_properties", ()):
                if key == "histories" and report.when == "call":
                    counts[name] = counts.get(name, 0) + value
    if counts:
        terminalreporter.section("histories")
        for name, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:6} {name}")
        terminalreporter.write_line(f"{sum(counts.values()):6} in all")
