"""Reads all that a channel shows; where the reading breaks off, it goes on from there."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import structlog

from inventory_pipeline.core.errors import ChannelBusy
from inventory_pipeline.core.ports import Connector, Level, LevelPage, LevelPaging

MAX_RESUMES = 5  # in a row, without a level read in between
FIRST_PAUSE_S = 1.0  # doubled from one to the next
LONGEST_PAUSE_S = 60.0

log = structlog.get_logger("reconcile")


def all_levels(
    connector: Connector,
    *,
    pause: Callable[[float], None],
    looked: Callable[[], None] = lambda: None,
) -> Iterator[Level]:
    """Every level of a connector, each page read once.

    `pause` waits so many seconds; `looked` is called for each page and may raise to end the
    reading. Raises SourceError or ChannelError: at once where the connector cannot go on from a
    page, otherwise after MAX_RESUMES attempts without a level.
    """
    if not isinstance(connector, LevelPaging):
        yield from connector.read_levels(None)
        return
    resume: str | None = None
    failed = 0
    while True:
        try:
            with closing(_pages(connector, resume)) as pages:
                for page in pages:
                    looked()
                    yield from page.levels
                    resume = page.resume
                    failed = 0 if page.levels else failed
                    if resume is None:
                        return
        except ChannelBusy as busy:
            failed += 1
            if failed > MAX_RESUMES:
                raise
            wait = max(busy.retry_after_s, FIRST_PAUSE_S * 2 ** (failed - 1))
            log.info(
                "a reading goes on where it broke off", system=connector.system,
                attempt=failed, from_the_beginning=resume is None, because=str(busy),
            )  # fmt: skip
        else:
            return
        pause(min(wait, LONGEST_PAUSE_S))


def _pages(connector: LevelPaging, resume: str | None) -> Generator[LevelPage, None, None]:
    yield from connector.level_pages(resume)
