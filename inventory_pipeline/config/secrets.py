"""Secrets come from the environment only and show themselves nowhere (SEMANTICS §7).

In hub.yaml an option names an environment variable, `access_token: {env: SHOPIFY_TOKEN}`, with
or without a `default`. The loaded `System.options` then holds a `Secret` in that place, however
deep. A connector asks for the text at the moment it needs it and keeps the Secret, not the text:

    headers = {"X-Shopify-Access-Token": reveal(opening.options["access_token"])}

`reveal` takes plain text as well, so a connector need not know which of the two a hub folder wrote.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

MASK = "***"
# What is shorter stands in many an innocent word.
SHORTEST_CONCEALED = 6

_spoken: dict[str, None] = {}


class Secret:
    """A text that prints as `***` in str, repr, format and JSON-by-str; only `reveal()` gives it.

    It is not a str, so that joining, formatting or serializing it by accident cannot show it. It
    cannot be pickled: a process that needs it reads its own environment.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text
        if len(text) >= SHORTEST_CONCEALED:
            # As it is, and as it stands in JSON and in what Python shows of a text.
            for shown in (text, json.dumps(text)[1:-1], repr(text)[1:-1]):
                _spoken[shown] = None

    def reveal(self) -> str:
        """The text itself: for a request header or a signature, never for a log or an error."""
        return self.__text

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.__text == other.reveal()

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written anywhere: read the environment again instead")


def spoken() -> tuple[str, ...]:
    """Every secret text that this process has read, for whoever takes them out of a line.

    The longest first: one that is a part of another must not leave the rest of it behind.
    """
    return tuple(sorted(_spoken, key=len, reverse=True))


def reveal(value: object) -> str:
    """The text of an option, secret or plain. Raises TypeError for a mapping, a list or None."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping | list | tuple) or value is None:
        raise TypeError(f"an option that holds a {type(value).__name__} is not one text")
    return str(value)
