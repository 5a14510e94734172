"""Self-hosted inventory hub: one stock, many channels, every number explained."""
