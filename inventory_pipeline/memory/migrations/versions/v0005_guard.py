"""What the guard holds, and modes that people set."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0005_guard.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
