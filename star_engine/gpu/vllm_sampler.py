"""A Sampler on vLLM: the fast one on CUDA, and on CPU for models too large for plain PyTorch.

With vllm_server the only file that imports vllm. How an adapter gets into the engine differs by device:

- CUDA: beside the bfloat16 base model, as a LoRARequest with a name and id of its own for every call of
  `use`. vLLM keys its prefix cache by name and its weights by id: a used one would silently serve old ones.
- CPU, for a base model that is not quantized: merged in float32 into the base model's weights, with which the
  engine then reloads. vLLM's LoRA on CPU gathers a private copy of A and B for every token and turns
  torch.compile off.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import CONFIG, WEIGHTS, file_sha256
from star_engine.adapters.weight_files import parameter_count
from star_engine.gpu.causal_lm import (
    context_length,
    eos_ids,
    load_tokenizer,
    prompt_ids,
    set_threads,
)
from star_engine.gpu.lora_merge import LoraUpdate, merged_weights, read_adapter, weight_shapes
from star_engine.gpu.scoring import ScoredText, tokenize_texts
from star_engine.gpu.text_parts import request_ids, sampled_ids, text_ids
from star_engine.gpu.vllm_engine_death import fail_when_it_dies
from star_engine.gpu.vllm_settings import engine_arguments, graph_sizes, runs_on_cpu, set_environment
from star_engine.protocols import (
    BadAdapter,
    Completion,
    SampleRequest,
    SamplingParams,
    Score,
    ScoreRequest,
    TrainingText,
)

# Texts on which two tokenizers that are not the same are likely to part: spaces, digits, unicode.
TOKENIZER_PROBES = (
    "Q: What is 17 + 25?\nA:",
    "  two  spaces\n\n\ttab",
    "naïve 東京 🙂",
    "#### 1,000.50",
    "(a) x = 3/4",
)


class VllmSampler:
    """Drives the engine step by step, so that requests appended to the queue join the running batch."""

    def __init__(
        self,
        base_model: Path,
        *,
        device: str | None = None,
        max_length: int | None = None,
        gpu_memory_utilization: float = 0.9,
        tensor_parallel_size: int = 1,
        seed: int = 0,
        max_lora_rank: int = 64,
        threads: int | None = None,
        kv_cache_gib: int = 2,
        enforce_eager: bool | None = None,
        engine: Mapping[str, Any] | None = None,
        trained_as: Path | None = None,
        beside: bool | None = None,
        own_process: bool | None = None,
    ) -> None:
        """Start the engine: seconds on CPU, up to a minute on CUDA.

        `device`: "cpu" or "cuda"; None: CUDA where it is usable. `max_lora_rank` counts where adapters are
        served beside the base model: the engine reserves memory for this rank, and refuses larger ones.
        `threads` and `kv_cache_gib` count on CPU only, and yield to OMP_NUM_THREADS and
        VLLM_CPU_KVCACHE_SPACE where the process has them. `enforce_eager`: None compiles on CUDA only; on
        CPU that takes a C++ compiler and two minutes, for 1.18 times the speed (docs/benchmarks/levers.md).
        `engine`: arguments of vLLM's LLM, over those that are chosen here.
        `trained_as`: the plain version of a quantized base model, whose adapters are served beside it.
        `beside`, `own_process`: whether adapters are served beside the base model, and whether the engine has
        a process of its own; None: on CUDA, where both must be. On CPU it is how CUDA's way is tried out.
        Raises ValueError where vLLM and transformers tokenize differently, and RuntimeError where CUDA is
        asked for and not usable.
        """
        self._on_cpu = runs_on_cpu(device)
        self._beside = not self._on_cpu or bool(beside) or trained_as is not None
        self._shapes_of = trained_as or base_model
        # vLLM keeps the number of threads that it finds, and nobody in this process can change it afterwards.
        set_environment(self._on_cpu, set_threads(threads), kv_cache_gib, own_process)
        from vllm import LLM

        self._base_model = base_model
        self._tokenizer = load_tokenizer(base_model)
        self._eos = list(eos_ids(base_model, self._tokenizer))
        self._max_length = context_length(base_model, max_length)
        arguments = {
            "max_model_len": self._max_length,
            "gpu_memory_utilization": gpu_memory_utilization,
            "tensor_parallel_size": tensor_parallel_size,
            "seed": seed,
            "enforce_eager": self._on_cpu if enforce_eager is None else enforce_eager,
            **engine_arguments(self._on_cpu, max_lora_rank, self._beside),
        }
        if not (self._on_cpu or enforce_eager):
            arguments |= graph_sizes(parameter_count(base_model), engine or {})
        self._llm: Any = LLM(model=str(base_model), **arguments | dict(engine or {}))
        self._engine = self._llm.llm_engine
        fail_when_it_dies(self._engine.engine_core)
        self._adapters = count(1)
        self._served: str | None = None  # by the engine: what adapter_sha256 says of it; None: the base model
        self._lora: Any = None  # the LoRARequest of the adapter in use, where it is not merged
        self._ids = count()
        _refuse_other_tokenizer(self._tokenizer, self._llm.get_tokenizer(), base_model.name)
        self._try_out()

    def _try_out(self) -> None:
        """Generate one token, so that a model the engine loads but cannot run (narrow heads on
        CPU) fails here.
        """
        list(
            self.stream(deque([SampleRequest("try-out", TOKENIZER_PROBES[0])]), SamplingParams(max_tokens=1))
        )

    def use(self, adapter: Path | None) -> None:
        """Serve the base model with this adapter, or without one. Raises BadAdapter.

        Costs nothing where it is served already, from whatever folder: verification, evaluation and the next
        iteration's sampling ask for the same one, whose prefixes then stay cached.
        """
        updates = read_adapter(adapter, weight_shapes(self._shapes_of)) if adapter is not None else {}
        wanted = _sha256(adapter) if adapter is not None else None
        if wanted == self._served:
            return
        self._served = None  # what is left where vLLM refuses the adapter
        if self._beside:
            self._use_lora(adapter)
        else:
            self._reload(updates)
        self._served = wanted

    def _use_lora(self, adapter: Path | None) -> None:
        from vllm.lora.request import LoRARequest

        if self._lora is not None:
            self._engine.remove_lora(self._lora.lora_int_id)
            self._lora = None
        if adapter is None:
            return
        number = next(self._adapters)
        lora = LoRARequest(f"{adapter.name}-{number}", number, str(adapter))
        try:
            loaded = self._engine.add_lora(lora)
        except Exception as error:  # what the engine's process says of it comes as a bare Exception
            if self._engine_dead:
                raise
            raise BadAdapter(f"vLLM does not load the adapter: {error}") from error
        if not loaded:
            raise BadAdapter("vLLM does not load the adapter.")
        self._lora = lora

    @property
    def _engine_dead(self) -> bool:
        """Whether the engine's process has ended, where it has one."""
        resources = getattr(self._engine.engine_core, "resources", None)
        return resources is not None and bool(resources.engine_dead)

    def _reload(self, updates: Mapping[str, LoraUpdate]) -> None:
        weights = merged_weights(self._base_model, updates)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if not self._llm.reset_prefix_cache():
            raise RuntimeError(
                "vLLM kept its prefix cache: keys and values of the old weights would be served."
            )

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        """See Sampler. ValueError, naming the key, for a prompt that leaves no room for a completion."""
        running: dict[str, SampleRequest] = {}  # by the engine's id
        try:
            while queue or running:
                self._submit(queue, params, running)
                for output in self._engine.step():
                    yield _completion(running.pop(output.request_id), output, self._tokenizer)
        finally:  # the caller may leave early: what still runs must not come back in the next call
            self._engine.abort_request(list(running))

    def _submit(
        self, queue: deque[SampleRequest], params: SamplingParams, running: dict[str, SampleRequest]
    ) -> None:
        requests = [queue.popleft() for _ in range(len(queue))]
        encoded = request_ids(self._tokenizer, requests)
        for request, ids in zip(requests, encoded, strict=True):
            if not 0 < len(ids) < self._max_length:
                most = self._max_length - 1
                raise ValueError(f"Prompt {request.key} has {len(ids)} tokens; 1 to {most} fit the model.")
            name = str(next(self._ids))
            running[name] = request
            self._engine.add_request(
                name,
                {"prompt_token_ids": ids},
                self._sampling(request, params),
                lora_request=self._lora,
            )

    def _sampling(self, request: SampleRequest, params: SamplingParams) -> Any:
        from vllm import SamplingParams as VllmParams
        from vllm.sampling_params import RequestOutputKind

        own = params.of(request)
        return VllmParams(
            temperature=own.temperature,
            top_p=own.top_p,
            top_k=own.top_k,
            max_tokens=own.max_tokens,
            stop=list(own.stop),
            stop_token_ids=self._eos,
            skip_special_tokens=not own.special,
            spaces_between_special_tokens=False,
            seed=_seed(request) if own.temperature > 0 else None,  # on vLLM's older runner it costs time
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """See Scorer. vLLM computes each prompt from its start: scored texts do not read its prefix cache."""
        texts = tokenize_texts(self._tokenizer, requests, self._tokenizer.eos_token_id, self._max_length)
        running: dict[str, ScoredText] = {}
        try:
            for text in texts:
                name = str(next(self._ids))
                running[name] = text
                prompt = {"prompt_token_ids": list(text.tokens)}
                self._engine.add_request(name, prompt, _scoring(), lora_request=self._lora)
            while running:
                for output in self._engine.step():
                    yield _score(running.pop(output.request_id), output)
        finally:
            self._engine.abort_request(list(running))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.token_ids(texts)]

    def token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        return text_ids(self._tokenizer, texts)

    def close(self) -> None:
        """End the engine's processes and free the device."""
        self._engine.engine_core.shutdown()
        self._engine = self._llm = None


def _sha256(adapter: Path) -> str:
    """Hash everything that decides how an adapter acts."""
    return " ".join(file_sha256(adapter / name) for name in (CONFIG, WEIGHTS))


def _seed(request: SampleRequest) -> int:
    if request.seed is not None:
        return request.seed
    return int.from_bytes(hashlib.sha256(request.key.encode()).digest()[:4])


def _completion(request: SampleRequest, output: Any, tokenizer: Any) -> Completion:
    """Raises RuntimeError where vLLM gave the request up."""
    best = _written(request.key, output)
    prompt, tokens = output.prompt_token_ids, best.token_ids
    stopped_by = best.stop_reason if isinstance(best.stop_reason, str) else None  # an int: an EOS token
    ids = None
    if request.continued:
        ids = sampled_ids(tokenizer, prompt, best.text + (stopped_by or ""), tokens)
    return Completion(
        request.key,
        best.text,
        len(prompt),
        len(tokens),
        best.finish_reason,
        stopped_by,
        ids=ids,
        cached_tokens=output.num_cached_tokens,
    )


def _written(key: str, output: Any) -> Any:
    """What vLLM wrote, if it ended as it was asked to: else RuntimeError, for it must not be judged."""
    best = output.outputs[0]
    if best.finish_reason not in ("stop", "length"):
        raise RuntimeError(
            f"vLLM ended request {key} after {len(best.token_ids)} tokens with {best.finish_reason!r}, which "
            "is neither the end of its text nor its token limit: the log of the GPU process says why."
        )
    return best


def _scoring() -> Any:
    """What makes vLLM tell the log-probability of each token of a prompt. It always writes one of its own."""
    from vllm import SamplingParams as VllmParams
    from vllm.sampling_params import RequestOutputKind

    return VllmParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=0,  # of the prompt's own tokens, no others
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _score(text: ScoredText, output: Any) -> Score:
    """Raises RuntimeError where vLLM gave the text up."""
    _written(text.key, output)
    told = output.prompt_logprobs
    return Score(text.key, tuple(told[at][text.tokens[at]].logprob for at in text.scored))


def _refuse_other_tokenizer(ours: Any, theirs: Any, name: str) -> None:
    for text, ids in zip(TOKENIZER_PROBES, prompt_ids(ours, TOKENIZER_PROBES), strict=True):
        if theirs.encode(text) != ids:
            raise ValueError(
                f"vLLM and transformers tokenize {text!r} differently for base model {name}: what is "
                "sampled would not be what is trained on. Check the tokenizer files of the model."
            )
