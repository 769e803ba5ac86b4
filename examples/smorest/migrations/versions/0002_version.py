"""A version for each note, also for those that are there, by SQLite's functions: other databases have others."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.add_column("note", sa.Column("version", sa.String(36), nullable=True))
    op.execute("UPDATE note SET version = lower(hex(randomblob(16))) WHERE version IS NULL")


def downgrade():
    op.drop_column("note", "version")
