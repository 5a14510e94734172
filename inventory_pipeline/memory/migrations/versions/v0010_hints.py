"""Levels that a system says have changed, to be read again."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0010_hints.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
