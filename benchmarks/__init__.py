"""Measured figures of the product: `python -m benchmarks` runs them all (docs/benchmarks.md).

Each module of this folder is one benchmark: a function `run(scratch)` that yields figures, in a
process of its own. What they share is in `harness/`, what they work on is made in `made/`.
"""
