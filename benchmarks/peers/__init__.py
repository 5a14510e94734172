"""What the calculation is held against: the same formula by hand in polars and in pandas."""
