"""What the hub remembers, in Postgres (architecture: Postgres remembers)."""
