"""Small tokenizers made in memory: one token a character; byte-level BPE that merges across word borders."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CHARACTERS = "\n !#()*+,-./0123456789:<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
END = "<|end|>"  # token 0 of both


def character_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {END: 0, "<|pad|>": 1} | {char: at for at, char in enumerate(CHARACTERS, start=2)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token="<|pad|>")


def word_tokenizer(
    *, add_prefix_space: bool = False, add_bos_and_eos: bool = False, trim_offsets: bool = False
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    texts = ["Q: How many apples are there? A: There are 12 apples. The answer is 12.\n\n"] * 20
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[END, "<|begin|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if trim_offsets:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if add_bos_and_eos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"<|begin|> $A {END}", special_tokens=[("<|begin|>", 1), (END, 0)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token="<|begin|>")
