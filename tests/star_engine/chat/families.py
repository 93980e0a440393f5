"""Models in miniature, one for each family of chat templates: published template, own tokenizer.

The templates are those that TRL, a dependency of the tests (Apache-2.0), carries in its package as the
models' publishers ship them. Two short ones that it lacks are written out: those of SmolLM2 and of Mistral 7B
Instruct v0.2 (both Apache-2.0). The tokenizers are ours: a token for every byte, then the family's special
tokens.
"""

# ruff: noqa: RUF001 - DeepSeek writes its special tokens with a wide bar
from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    template: str  # the text, or a file of TRL
    eos: str  # of the tokenizer
    end: str  # ends the assistant's turn
    special: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()  # added tokens that are not special: they stay in a decoded text
    bos: str | None = None
    adds_bos: bool = False
    ends: tuple[str, ...] = ()  # generation_config.json's; empty: the tokenizer's
    thought: str = ""  # a thinking as the model writes it behind its prompt; empty: it writes none

    @property
    def source(self) -> str:
        if not self.template.endswith(".jinja"):
            return self.template
        return files("trl").joinpath("chat_templates", self.template).read_text(encoding="utf-8")

    @property
    def tokens(self) -> tuple[str, ...]:
        named = (*self.special, self.eos, self.end, *self.ends, *([self.bos] if self.bos else []))
        return tuple(dict.fromkeys(named))


CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>")
THINK = "<think>\nAdd them.\n</think>\n\n"

FAMILIES = (
    Family("qwen2.5", "qwen2_5.jinja", "<|im_end|>", "<|im_end|>", CHATML),
    Family(
        "qwen3", "qwen3.jinja", "<|im_end|>", "<|im_end|>", CHATML, ("<think>", "</think>"), thought=THINK
    ),
    Family(
        "llama3.1",
        "llama3_1.jinja",
        "<|eot_id|>",
        "<|eot_id|>",
        LLAMA,
        bos="<|begin_of_text|>",
        adds_bos=True,
    ),
    Family(
        "llama3.2",
        "llama3_2.jinja",
        "<|eot_id|>",
        "<|eot_id|>",
        LLAMA,
        bos="<|begin_of_text|>",
        adds_bos=True,
    ),
    Family(
        "gemma2",
        "gemma.jinja",
        "<eos>",
        "<end_of_turn>",
        ("<start_of_turn>",),
        bos="<bos>",
        adds_bos=True,
        ends=("<eos>", "<end_of_turn>"),
    ),
    Family("mistral", MISTRAL, "</s>", "</s>", ("[INST]", "[/INST]"), bos="<s>", adds_bos=True),
    Family(
        "gpt-oss",
        "gptoss.jinja",
        "<|return|>",
        "<|return|>",
        HARMONY,
        bos="<|startoftext|>",
        ends=("<|return|>", "<|endoftext|>", "<|call|>"),
        thought="<|channel|>analysis<|message|>Add them.<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    Family("smollm2", SMOLLM2, "<|im_end|>", "<|im_end|>", CHATML, bos="<|im_start|>"),
    Family(
        "r1-distill",
        "deepseek_r1_distill.jinja",
        "<｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        ("<｜User｜>", "<｜Assistant｜>"),
        ("<think>", "</think>"),
        bos="<｜begin▁of▁sentence｜>",
        adds_bos=True,
        thought="Add them.\n</think>\n\n",
    ),
)


def write_model(family: Family, folder: Path) -> Path:
    """The tokenizer's files as a hub has them; no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(family).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(family.source, encoding="utf-8")
    known = PreTrainedTokenizerFast.from_pretrained(folder)
    ends = [known.convert_tokens_to_ids(name) for name in family.ends or (family.eos,)]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return folder


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: at for at, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in family.tokens])
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in family.plain])
    if family.adds_bos and family.bos:
        number = tokenizer.token_to_id(family.bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, number)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=family.bos, eos_token=family.eos)
