"""From the hub folder to a checked policy (SEMANTICS §1, §7)."""
