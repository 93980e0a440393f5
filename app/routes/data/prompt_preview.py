"""Previews a prompt set: the prompt for one example and the text that would be trained on."""

from __future__ import annotations

from app.http.auth import Reader
from app.http.dependencies import Db, OfferedModels
from app.http.router import api_router
from app.jobs.prompt_preview import PreviewIn, PromptPreviewOut, preview_prompts

router = api_router("prompt sets", "/v1/prompt-sets")


@router.post("/{prompt_set_id}/preview", summary="Preview a prompt set on one example")
def preview(
    caller: Reader, db: Db, offered: OfferedModels, prompt_set_id: str, sent: PreviewIn
) -> PromptPreviewOut:
    """The prompts of iteration 1 and the training row, byte for byte. Stores nothing and needs no GPU."""
    return preview_prompts(db, caller.project_id, offered, prompt_set_id, sent)
