"""What the sender needs: order by risk, batches under way, circuit breakers."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # The driver's own cursor: SQLAlchemy would read the casts' colons as parameters.
    script = Path(__file__).with_name("0004_push_plane.sql").read_text(encoding="utf-8")
    op.get_bind().connection.cursor().execute(script)
