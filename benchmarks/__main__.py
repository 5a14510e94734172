"""`python -m benchmarks [NAME …]`: measures, prints a table, writes build/bench.json."""

import argparse
import sys

from benchmarks.harness import runner


def main() -> int:
    known = runner.benchmarks()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    names = parser.parse_args().names or known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}")
    figures, failed = runner.run(names)
    runner.write(figures)
    print(f"\n{runner.table(figures)}\n\nwritten to {runner.RESULTS}")
    for name, why in failed.items():
        print(f"{name} failed: {why}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
