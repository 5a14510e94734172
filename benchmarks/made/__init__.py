"""Seeded data to measure with: the same numbers give the same data on every machine."""
