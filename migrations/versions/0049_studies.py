"""Blind studies of rationales, their pairs and ratings.

Revises: 0048
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.database import UtcDateTime
from migrations.columns import JSON, SERIAL

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("iteration_number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        _key("studies", "project_id", "projects"),
        _key("studies", "job_id", "jobs", cascade=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
    )
    op.create_index("ix_studies_project_id_id", "studies", ["project_id", "id"])
    op.create_index("ix_studies_job_id", "studies", ["job_id"])
    op.create_table(
        "study_pairs",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("example_id", SERIAL, nullable=False),
        sa.Column("first_arm", sa.Text(), nullable=False),
        sa.Column("second_arm", sa.Text(), nullable=False),
        sa.Column("first_text", sa.Text(), nullable=False),
        sa.Column("second_text", sa.Text(), nullable=False),
        _key("study_pairs", "study_id", "studies", cascade=True),
        _key("study_pairs", "example_id", "examples", cascade=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_pairs")),
        sa.UniqueConstraint("study_id", "position", name=op.f("uq_study_pairs_study_id_position")),
    )
    op.create_index("ix_study_pairs_example_id", "study_pairs", ["example_id"])
    op.create_table(
        "study_ratings",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("pair_id", SERIAL, nullable=False),
        sa.Column("rater", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("choice", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        _key("study_ratings", "pair_id", "study_pairs", cascade=True),
        _key("study_ratings", "key_id", "api_keys"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_ratings")),
    )
    op.create_index("ix_study_ratings_pair_id", "study_ratings", ["pair_id"])
    op.create_index("ix_study_ratings_key_id", "study_ratings", ["key_id"])


def _key(table: str, column: str, other: str, *, cascade: bool = False) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{other}.id"],
        name=op.f(f"fk_{table}_{column}_{other}"),
        ondelete="CASCADE" if cascade else None,
    )


def downgrade() -> None:
    op.drop_table("study_ratings")
    op.drop_table("study_pairs")
    op.drop_table("studies")
