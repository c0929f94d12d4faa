"""Characters, and a stand-in with the methods of ``tokenizers.Tokenizer``."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from unigen.data.vocabulary import Characters, TokenizerVocabulary
from unigen.errors import ArgumentError, DTypeError, SupportError


@dataclass
class Encoding:
    ids: list[int]


class Words:
    """The interface of ``tokenizers.Tokenizer``, over four words."""

    words = ("[UNK]", "to", "be", "or")

    def encode(self, sequence, pair=None, is_pretokenized=False, add_special_tokens=True):
        return Encoding([self.words.index(w) if w in self.words else 0 for w in sequence.split()])

    def decode(self, ids, skip_special_tokens=True):
        return " ".join(self.words[i] for i in ids if i or not skip_special_tokens)

    def get_vocab_size(self, with_added_tokens=True):
        return len(self.words)


def test_characters_round_trip_in_sorted_order():
    text = "to be, or not to be\n"
    v = Characters.of(text)
    assert v.symbols == "\n ,benort" and v.size == 9
    tokens = v.encode(text)
    assert tokens.dtype is torch.long and tokens.tolist()[:3] == [8, 6, 1]
    assert v.decode(tokens) == v.decode(tokens.float()) == v.decode(tokens.tolist()) == text
    assert v.encode("").shape == (0,) and v.decode([]) == ""


def test_a_character_outside_is_named_with_its_place():
    with pytest.raises(SupportError, match=r"got 'z' at place 2"):
        Characters("ab").encode("abz")


def test_a_tokenizer_serves_through_the_same_two_methods():
    v = TokenizerVocabulary(Words())
    assert v.size == 4 and v.encode("to be or to").tolist() == [1, 2, 3, 1]
    assert v.decode(torch.tensor([1.0, 2.0])) == "to be" and v.encode("").dtype is torch.long


@pytest.mark.parametrize(
    "v", [Characters("abcd"), TokenizerVocabulary(Words())], ids=["characters", "tokenizer"]
)
def test_tokens_outside_are_named_with_their_place(v):
    with pytest.raises(SupportError, match="got 4 at place 1, expected 0 … 3"):
        v.decode([0, 4])
    with pytest.raises(SupportError, match="got -1 at place 0"):
        v.decode(torch.tensor([-1]))
    with pytest.raises(DTypeError, match=r"0\.5 at place 0"):
        v.decode([0.5])
    with pytest.raises(ArgumentError, match="batch"):
        v.decode(torch.zeros(2, 2))


def test_bad_vocabularies_are_refused():
    with pytest.raises(ArgumentError, match="none"):
        Characters("")
    with pytest.raises(ArgumentError, match="'a'"):
        Characters("aba")
    with pytest.raises(ArgumentError, match="get_vocab_size"):
        TokenizerVocabulary("text")
