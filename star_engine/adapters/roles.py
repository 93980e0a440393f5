"""What an adapter is trained for."""

from __future__ import annotations

from enum import StrEnum


class AdapterRole(StrEnum):
    """One iteration may have an adapter of each role."""

    GENERATOR = "generator"  # writes rationales and answers questions
    VERIFIER = "verifier"  # ranks candidate answers by how likely it finds them (V-STaR)
    QUIET = "quiet"  # thinks before each token (Quiet-STaR)


# Why nobody can ask an adapter of these roles over HTTP.
NOT_ASKED = {
    AdapterRole.VERIFIER: "it judges texts and writes none",
    AdapterRole.QUIET: (
        "it thinks between tokens, which nothing here serves: vLLM loads no head beside LoRA matrices and "
        "mixes no predictions; download it and write with star_engine, as its README.md shows"
    ),
}
