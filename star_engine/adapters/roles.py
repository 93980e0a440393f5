"""What an adapter is trained for."""

from __future__ import annotations

from enum import StrEnum


class AdapterRole(StrEnum):
    """One iteration may have an adapter of each role."""

    GENERATOR = "generator"  # writes rationales and answers questions
    VERIFIER = "verifier"  # ranks candidate answers by how likely it finds them (V-STaR)
    QUIET = "quiet"  # thinks before each token (Quiet-STaR)


UNTHINKING = "vLLM loads no head beside LoRA matrices and mixes no predictions"
# Why no server of models offers an adapter of these roles, and nobody compares its answers.
NOT_ASKED = {
    AdapterRole.VERIFIER: "it judges texts and writes none",
    AdapterRole.QUIET: (
        f"it thinks between tokens, which no server of models does: {UNTHINKING}; ask it in trials and "
        "evaluations, or download it and write with star_engine, as its README.md shows"
    ),
}
