"""LoRA on a base model that stays loaded: training on one training set, and the probe of an adapter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from transformers import GenerationConfig

from star_engine.adapters.layout import CONFIG, OPTIMIZER, WEIGHTS, BaseModel, file_sha256, rewrite_config
from star_engine.config.star import Training
from star_engine.gpu.causal_lm import (
    context_length,
    eos_ids,
    free_bytes,
    load_model,
    load_tokenizer,
    prompt_ids,
    text_after,
)
from star_engine.gpu.lora_merge import PREFIX, LoraUpdate, read_adapter, weight_shapes
from star_engine.gpu.peft_alone import peft
from star_engine.gpu.scoring import ScoredText, tokenize_texts
from star_engine.gpu.text_parts import text_ids
from star_engine.gpu.training.at_once import AtOnce, StartAgain, layers_to_checkpoint, tokens_that_fit
from star_engine.gpu.training.checkpointing import checkpointable, checkpointed, stop_checkpointing
from star_engine.gpu.training.four_bits import SHARDED, load_in_four_bits
from star_engine.gpu.training.lean_lora import use_lean_forward
from star_engine.gpu.training.lora_run import Learned, LoraRun, Ranks
from star_engine.gpu.training.sharded_model import first_values, load_sharded
from star_engine.gpu.training.tokenized_rows import batches
from star_engine.gpu.training.train_checkpoint import (
    Checkpoints,
    ResumePoint,
    fsync,
    load_moments,
    save_moments,
)
from star_engine.gpu.training.training_data import TrainingData, training_data
from star_engine.protocols import (
    AdapterProbe,
    BadAdapter,
    Score,
    ScoreRequest,
    TrainingJob,
    TrainingProgress,
    TrainingText,
    is_out_of_memory,
)

# Tokens that run through the model at once. SmolLM2-135M holds about 2.5 MB of float32 activations a token.
MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
GOOD_STEPS = 100  # after which more tokens are tried at once again
ARITHMETIC = 2  # raised where a step adds up in another order: an older resume point would end in other bytes


class LoraTrainer:
    """A base model that is never written to: float32 on CPU, bfloat16 under float32 LoRA on CUDA."""

    def __init__(
        self,
        base_model: Path,
        *,
        threads: int | None = None,
        device: str = "cpu",
        ranks: Ranks = Ranks(),
        at_once: AtOnce | None = None,
        quantization: Literal["nf4"] | None = None,
    ) -> None:
        """`ranks`: the processes that train together, this one among them (parallel_trainer.py).

        at_once: what was found to fit; None: it is found out. quantization: how the base model is held, which
        every training must ask for (`training.quantization`).
        """
        kind = torch.device(device).type
        dtype = torch.float32 if kind == "cpu" else torch.bfloat16
        self._base: Any = _load_base(base_model, dtype, device, ranks, quantization)
        self._quantization = quantization
        self._tokenizer = load_tokenizer(base_model)
        self._name = base_model.name
        self._eos = eos_ids(base_model, self._tokenizer)
        self._max_length = context_length(base_model, None)
        self._device = torch.device(device)
        self._threads = threads or torch.get_num_threads()
        first = at_once or AtOnce(_first_tokens(self._base.config, kind))
        self._micro_tokens, self._checkpointed = first.tokens, first.checkpointed
        self._most_tokens = self._micro_tokens  # at once, where memory is free
        self._fitted = 0  # steps since the device last ran out of memory
        self._ranks = ranks
        self._shapes = (
            {name: weight.shape for name, weight in self._base.named_parameters()}
            if quantization is None
            else weight_shapes(base_model)
        )
        # What the base model says to a job's probe prompts: the same in each of its iterations.
        self._base_says: tuple[Any, list[tuple[str, torch.Tensor]]] = (None, [])

    def train(self, job: TrainingJob) -> Iterator[TrainingProgress]:
        """See Trainer. On CPU a resumed run ends in the same bytes as an uninterrupted one.

        Rows longer than training.max_length are left out. Raises ValueError naming a row that is empty, or
        where none is short enough; BadAdapter for `job.start`, FloatingPointError where the loss is no longer
        finite, and OutOfMemory where not even one row fits.
        """
        torch.set_num_threads(self._threads)
        training = job.settings
        if training.quantization != self._quantization:
            raise ValueError(
                f"The trainer holds the base model with quantization {self._quantization or 'null'}; "
                f"training.quantization is {training.quantization or 'null'}."
            )
        max_length = min(training.max_length, self._max_length)
        eos = self._tokenizer.eos_token_id
        data = training_data(self._tokenizer, job, max_length, eos)
        lengths = data.lengths
        saved = Checkpoints(job.checkpoints, self._input_hash(data, job))
        with self._adapted(training, job.seed, job.start) as model:
            run = LoraRun(model, training, job.seed, self._device, self._ranks, job.steps)
            if job.moments is not None:
                run.carry(*load_moments(job.moments))
            if self._checkpointed:
                run.checkpoint_layers(self._checkpointed)
            tokens = run.resume(saved.newest())
            drawn = batches(lengths, training.batch_size, training.batch_tokens, job.seed, run.step)
            while run.step < job.steps:
                batch = next(drawn)
                learned = self._fitting_step(run, data, batch)
                tokens += sum(lengths[n] for n in batch)
                due = run.step % training.checkpoint_every == 0 and run.step < job.steps
                if due and self._ranks.first:
                    saved.save(ResumePoint(run.step, tokens, run.state()))
                yield TrainingProgress(
                    run.step,
                    job.steps,
                    learned.loss,
                    tokens,
                    learned.grad_norm,
                    learned.learning_rate,
                    too_long=len(job.data) - len(lengths),
                    margin=learned.margin,
                    pair_accuracy=learned.pair_accuracy,
                    tokens_at_once=self._micro_tokens,
                    checkpointed_layers=checkpointed(self._base),
                    ranks=self._ranks.count,
                    sharded=self._ranks.sharded,
                )
            if self._ranks.first:
                self._write(model, job.out, run if training.optimizer == "carry" else None)

    def training_token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        return text_ids(self._tokenizer, texts)

    def probe(self, adapter: Path, prompts: Sequence[str], max_tokens: int) -> AdapterProbe:
        """See Trainer. Refuses what is cut off, belongs to another model or is more than plain LoRA."""
        torch.set_num_threads(self._threads)
        updates = read_adapter(adapter, self._shapes)
        encoded = prompt_ids(self._tokenizer, prompts)
        if self._base_says[0] != (encoded, max_tokens):
            self._base_says = (encoded, max_tokens), self._continue(self._base, encoded, max_tokens)
        base = self._base_says[1]
        with self._loaded(adapter, updates) as model:
            adapted = self._continue(model, encoded, max_tokens)
        deltas = [(a[1] - b[1]).abs().max().item() for a, b in zip(adapted, base, strict=True)]
        halves = [half for update in updates.values() for half in (update.a, update.b)]
        return AdapterProbe(
            texts=tuple(text for text, _ in adapted),
            base_texts=tuple(text for text, _ in base),
            finite=all(bool(half.isfinite().all()) for half in halves),
            weight_norm=sum(update.norm() for update in updates.values()),
            max_logit_delta=max(deltas, default=0.0),
        )

    def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
        """See Trainer. Refuses what `probe` refuses."""
        torch.set_num_threads(self._threads)
        eos = self._tokenizer.eos_token_id
        texts = tokenize_texts(self._tokenizer, requests, eos, self._max_length + 1)
        if adapter is None:
            return [self._score(self._base, text) for text in texts]
        with self._loaded(adapter, read_adapter(adapter, self._shapes)) as model:
            return [self._score(model, text) for text in texts]

    @torch.inference_mode()
    def _score(self, model: Any, text: ScoredText) -> Score:
        ids = torch.tensor([text.tokens], device=self._device)
        scored = torch.tensor(text.scored, device=self._device)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0, scored - 1].float()
        logprobs = logits.log_softmax(-1).gather(-1, ids[0, scored].unsqueeze(-1)).squeeze(-1)
        return Score(text.key, tuple(logprobs.tolist()))

    @contextmanager
    def _loaded(self, adapter: Path, updates: dict[str, LoraUpdate]) -> Iterator[Any]:
        """The base model with this adapter as PEFT loads it; the base model alone again afterwards."""
        try:
            model = peft.PeftModel.from_pretrained(
                self._base, str(adapter), local_files_only=True, low_cpu_mem_usage=True
            )
        except Exception as error:  # whatever PEFT dislikes makes the adapter unusable
            raise BadAdapter(f"PEFT cannot load the adapter: {error}") from error
        try:
            _refuse_uneven(model, updates)
            yield model
        finally:
            model.unload()

    @torch.inference_mode()
    def _continue(
        self, model: Any, prompts: Sequence[list[int]], max_tokens: int
    ) -> list[tuple[str, torch.Tensor]]:
        """Greedy text after each prompt, and its first token's logits. All at once, padded on the left."""
        if not prompts:
            return []
        width = max(len(ids) for ids in prompts)
        padded = [[self._eos[0]] * (width - len(ids)) + ids for ids in prompts]
        shown = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
        out = model.generate(
            input_ids=torch.tensor(padded, device=self._device),
            attention_mask=torch.tensor(shown, device=self._device),
            generation_config=GenerationConfig(
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=list(self._eos),
                pad_token_id=self._eos[0],
                output_logits=True,
                return_dict_in_generate=True,
            ),
        )
        continued = zip(prompts, out.sequences[:, width:].tolist(), out.logits[0].float(), strict=True)
        return [(self._text(ids, generated), logits) for ids, generated, logits in continued]

    def _text(self, prompt: list[int], generated: list[int]) -> str:
        ended = takewhile(lambda token: token not in self._eos, generated)
        return text_after(self._tokenizer, prompt, list(ended))

    def _fitting_step(self, run: LoraRun, data: TrainingData, batch: Sequence[int]) -> Learned:
        """Take one optimizer step, in smaller parts from now on if the device runs out of memory."""
        while True:
            try:
                learned = data.learn(run, batch, self._micro_tokens)
                self._grow_again()
                return learned
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                longest = data.longest(batch)
            self._fitted = 0
            torch.cuda.empty_cache()
            now = AtOnce(self._micro_tokens, checkpointed(self._base))
            less = now.smaller(longest, checkpointable(self._base), self._layers_needed(longest))
            if self._ranks.sharded:  # the other ranks wait inside a layer
                raise StartAgain(less)
            self._micro_tokens = less.tokens
            if less.checkpointed > now.checkpointed:
                run.checkpoint_layers(less.checkpointed)

    def _layers_needed(self, tokens: int) -> int | None:
        """How many layers must be checkpointed for so many tokens at once; None: nothing can tell."""
        free = free_bytes(self._device)
        width = self._base.dtype.itemsize
        return None if free is None else layers_to_checkpoint(self._base.config, free, tokens, width)

    def _grow_again(self) -> None:
        """What ran out of memory beside others may fit later: try twice as much after many good steps."""
        self._fitted += 1
        if self._fitted >= GOOD_STEPS and self._micro_tokens < self._most_tokens:
            self._micro_tokens = min(self._most_tokens, 2 * self._micro_tokens)
            self._fitted = 0

    @contextmanager
    def _adapted(self, training: Training, seed: int, start: Path | None) -> Iterator[Any]:
        """The base model under a fresh adapter, or under `start`; the base model alone again afterwards."""
        versions = _versions(self._base)
        lora = training.lora
        targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
        config = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=targets,
        )
        updates = self._start(start, training)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = peft.get_peft_model(self._base, config)
        try:
            _load(model, updates)
            model.eval()  # dropout of the base model stays off; that of the adapter is on
            for name, module in model.named_modules():
                module.train("lora_dropout" in name)
            use_lean_forward(model)
            yield model
        finally:
            stop_checkpointing(self._base)
            model.unload()
        if versions != _versions(self._base):
            raise RuntimeError("Training wrote to the base model: this process must not be used any more.")

    def _start(self, start: Path | None, training: Training) -> dict[str, LoraUpdate]:
        if start is None:
            return {}
        updates = read_adapter(start, self._shapes)
        lora = training.lora
        wanted, found = (
            (lora.rank, lora.alpha / lora.rank),
            {(u.a.shape[0], u.scale) for u in updates.values()},
        )
        if found != {wanted}:
            raise BadAdapter(
                f"The adapter to go on from has (rank, scale) {found}; training.lora asks for {wanted}."
            )
        return updates

    def _write(self, model: Any, out: Path, carried: LoraRun | None) -> None:
        """The two files of an adapter, each complete under its name or not there; the config comes last.

        `carried`: the run whose optimizer the next training goes on with; None: it starts fresh.
        """
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            model.save_pretrained(folder, safe_serialization=True)
            rewrite_config(Path(folder), BaseModel(self._name))
            if carried is not None:
                save_moments(Path(folder, OPTIMIZER), carried.state(), carried.steps)
            for name in (WEIGHTS, *((OPTIMIZER,) if carried is not None else ()), CONFIG):
                fsync(Path(folder, name))
                Path(folder, name).replace(out / name)
        fsync(out)

    def _input_hash(self, data: TrainingData, job: TrainingJob) -> str:
        """Hash everything that decides the resulting weights, base model included: checkpoints belong to this
        hash.
        """
        digest = hashlib.sha256()
        unused = set() if job.settings.batch_tokens else {"batch_tokens"}
        unused |= {"optimizer"} if job.settings.optimizer == "fresh" else set()
        unused |= {"quantization"} if job.settings.quantization is None else set()
        settings = job.settings.model_dump(mode="json", exclude={"checkpoint_every", "max_length", *unused})
        versions = [torch.__version__, peft.__version__, str(self._device)]
        facts = [settings, job.steps, job.seed, ARITHMETIC, versions]
        digest.update(json.dumps(facts, sort_keys=True).encode())
        for part in data.hashed():
            digest.update(part.encode())
        for name, weight in self._base.named_parameters():
            some = first_values(weight).numpy()  # all of an 8B model would take half a minute
            digest.update(f"{name}{tuple(weight.shape)}".encode() + some.tobytes())
        if job.start is not None:
            digest.update(file_sha256(job.start / WEIGHTS).encode())
        if job.moments is not None:
            digest.update(file_sha256(job.moments).encode())
        return self._ranks.first_says(digest.digest(), self._device).hex()


def _load_base(base: Path, dtype: torch.dtype, device: str, ranks: Ranks, quantization: str | None) -> Any:
    """The base model. Raises ValueError for one that is to be quantized and cut into pieces."""
    if quantization is None:
        if ranks.sharded:
            return load_sharded(base, dtype=dtype, device=torch.device(device), ranks=ranks.count)
        return load_model(base, dtype=dtype, device=device)
    if ranks.sharded:
        raise ValueError(SHARDED)
    return load_in_four_bits(base, dtype=dtype, device=device)


def _first_tokens(config: Any, kind: str) -> int:
    most = MICRO_BATCH_TOKENS.get(kind, MICRO_BATCH_TOKENS["cuda"])
    free = free_bytes(torch.device(kind))
    return most if free is None else tokens_that_fit(config, free, most)


def _versions(model: Any) -> dict[str, int]:
    """How often each weight was written to: PyTorch counts it, which is free; comparing 16 GB is not."""
    parameters = model.named_parameters()
    return {name: weight._version for name, weight in parameters}  # noqa: SLF001 - it has no public name


def _load(model: Any, updates: dict[str, LoraUpdate]) -> None:
    """Put the weights of an adapter into the fresh adapter of a PEFT model."""
    if not updates:
        return
    parameters = dict(model.named_parameters())
    _refuse_uneven(model, updates)
    with torch.no_grad():
        for weight, update in updates.items():
            for half, tensor in (("A", update.a), ("B", update.b)):
                parameters[_peft_name(weight, half)].copy_(tensor)


def _refuse_uneven(model: Any, updates: dict[str, LoraUpdate]) -> None:
    """PEFT only warns of weights that are missing or too many; half an adapter must not pass."""
    here = {name for name, _ in model.named_parameters() if ".lora_" in name}
    there = {_peft_name(weight, half) for weight in updates for half in "AB"}
    if missing := sorted(here - there):
        raise BadAdapter(f"The adapter's config asks for {missing[0]}, which its weights do not hold.")
    if extra := sorted(there - here):
        raise BadAdapter(f"The adapter holds {extra[0]}, which its config does not place in the base model.")


def _peft_name(weight: str, half: str) -> str:
    return f"{PREFIX}{weight.removesuffix('.weight')}.lora_{half}.default.weight"
