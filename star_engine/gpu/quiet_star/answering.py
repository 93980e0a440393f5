"""Answers requests as a sampler does, with a thought before each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from star_engine.gpu.causal_lm import prompt_ids, text_after
from star_engine.gpu.quiet_star.thinking import Thinker
from star_engine.gpu.quiet_star.writing import Written, write
from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.sampling.stops import first_stop

SEED = 0  # of thoughts: the same request has the same answer


@dataclass(frozen=True, slots=True)
class Answering:
    """A model that may think, and what is needed to turn text into its tokens and back."""

    thinker: Thinker
    tokenizer: Any
    banned: torch.Tensor  # ids that no thought holds
    eos: frozenset[int]
    context: int  # positions that the model has

    def answer(self, request: SampleRequest, params: SamplingParams) -> Completion:
        """One greedy completion, as Sampler.stream gives it. Raises ValueError, naming the key, for a
        temperature, and for a prompt that leaves no room for a token and its thought.
        """
        own = params.of(request)
        if own.temperature > 0:
            raise ValueError(f"Request {request.key}: a model that thinks between tokens answers greedily.")
        prompt = prompt_ids(self.tokenizer, [request.prompt])[0]
        room = self.context - len(prompt) - self.thinker.settings.steps_of_thought - 1
        if not prompt or room < 1:
            raise ValueError(
                f"Prompt {request.key} has {len(prompt)} tokens; with its thoughts it does not fit the "
                f"model's {self.context} positions."
            )
        limit = min(own.max_tokens, room)
        written, text = list[Written](), ""
        reason, stopped_by = "stop", None
        thinks = not own.without_thoughts
        for one in write(
            self.thinker, prompt, self.banned, max_tokens=limit, seed=SEED, stop=self.eos, thinks=thinks
        ):
            written.append(one)
            text = text_after(self.tokenizer, prompt, [each.token for each in written], special=own.special)
            if (found := first_stop(text, own.stop)) is not None:
                text, stopped_by = text[: found[0]], found[1]
                break
        else:
            reason = "length" if len(written) == limit else "stop"
        return Completion(
            key=request.key,
            text=text,
            prompt_tokens=len(prompt),
            tokens=len(written),
            finish_reason="length" if reason == "length" else "stop",
            stopped_by=stopped_by,
            thoughts=self._shown(written),
        )

    def _shown(self, written: Sequence[Written]) -> tuple[tuple[str, str], ...]:
        """Each token as text, and the thought before it; () where none holds a token."""
        if not any(one.thought for one in written):
            return ()
        return tuple((self._text([one.token]), self._text(one.thought)) for one in written)

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text
