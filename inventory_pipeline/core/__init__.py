"""Vocabulary and decisions. Standard library only: no database, no HTTP, no Dagster."""
