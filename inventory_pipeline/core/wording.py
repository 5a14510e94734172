"""Numbers and names as people say them."""


def counted(number: int, one: str) -> str:
    """`1 listing`, `2,000 listings`."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"
