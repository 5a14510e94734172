"""What happens, a verb a file; no Dagster."""
