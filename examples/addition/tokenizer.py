"""The character-level tokenizer of the addition model.

Every printable ASCII character and the newline is a token. Digits and signs also exist with the space before
them, and the markers are one token each: a four-digit problem takes 78 tokens in place of 164. No token
crosses the place where a prompt ends and a completion begins, so both may be tokenized apart.
"""

import string
from collections.abc import Sequence

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
MARKERS = ("Input:", "Target:", "<scratch>", "</scratch>", " C:")
SPACED = tuple(f" {symbol}" for symbol in "0123456789+,")
PATTERN = r"Input:|Target:|<scratch>|</scratch>| C:| ?[0-9+,]|[\s\S]"


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Adds no special token by itself; text outside ASCII becomes <unk>."""
    characters = [chr(code) for code in range(32, 127)] + ["\n"]
    assert set(characters) >= set(string.printable) - set("\t\r\x0b\x0c")
    words = [PAD, EOS, UNKNOWN, *MARKERS, *SPACED, *characters]
    return word_level(words, PATTERN, max_length)


def word_level(words: Sequence[str], pattern: str, max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, which `pattern` finds in a text; PAD, EOS and UNKNOWN are among them."""
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def shared_embeddings(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """The projection, shape (tokens, tokens), of embeddings onto those in which " 7" is "7" plus a space.

    Without it the model has to learn the table of sums again for every way a digit can be written.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    parts = torch.eye(len(vocabulary))
    space = parts[vocabulary[" "]]
    for spaced in SPACED:
        parts[vocabulary[spaced]] = parts[vocabulary[spaced[1:]]] + space
    projection: torch.Tensor = parts @ torch.linalg.pinv(parts)
    return projection
