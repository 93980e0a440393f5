"""What an adapter is trained for."""

from __future__ import annotations

from enum import StrEnum


class AdapterRole(StrEnum):
    """One iteration may have an adapter of each role."""

    GENERATOR = "generator"  # writes rationales and answers questions
    VERIFIER = "verifier"  # ranks candidate answers by how likely it finds them (V-STaR)
    QUIET = "quiet"  # thinks before each token (Quiet-STaR)
