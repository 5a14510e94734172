"""How figures are measured, compared and written down."""
