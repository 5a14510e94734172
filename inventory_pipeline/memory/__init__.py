"""What the hub remembers, in Postgres (DESIGN: Postgres remembers)."""
