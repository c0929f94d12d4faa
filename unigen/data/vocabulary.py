"""Text as tokens, behind ``encode`` and ``decode``: one character a token, or a tokenizer of the Hugging Face kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol, final

import torch
from torch import Tensor

from unigen.errors import ArgumentError, DTypeError, SupportError


class Vocabulary(ABC):
    """A map between text and integers 0 … V−1."""

    @property
    @abstractmethod
    def size(self) -> int:
        """V."""

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """Return the tokens of a text, integers (M,)."""

    @abstractmethod
    def decode(self, tokens: Tensor | Iterable[int]) -> str:
        """Return the text of tokens, integers or integer-valued reals (M,)."""

    def _integers(self, tokens: Tensor | Iterable[int]) -> list[int]:
        ids = tokens.tolist() if isinstance(tokens, Tensor) else list(tokens)
        for place, token in enumerate(ids):
            if isinstance(token, list):
                raise ArgumentError(
                    program=type(self).__name__, site="tokens", got="a batch", expected="one sequence (M,)",
                    hint="[vocabulary.decode(row) for row in tokens]",
                )  # fmt: skip
            if token != int(token):
                raise DTypeError(
                    program=type(self).__name__, site="tokens", got=f"{token} at place {place}",
                    expected="an integer",
                )  # fmt: skip
            if not 0 <= token < self.size:
                raise SupportError(
                    "a token outside the vocabulary", program=type(self).__name__, site="tokens",
                    got=f"{int(token)} at place {place}", expected=f"0 … {self.size - 1}",
                )  # fmt: skip
        return [int(token) for token in ids]


@final
class Characters(Vocabulary):
    """One token a character, in the order in which the characters are listed.

    Args:
        symbols: The characters, each once.

    Raises:
        ArgumentError: No character, or one that occurs twice.

    Example:
        >>> v = Characters.of("hello world")
        >>> v.decode(v.encode("hold"))
        'hold'
    """

    def __init__(self, symbols: str) -> None:
        index = {symbol: k for k, symbol in enumerate(symbols)}
        if not symbols or len(index) < len(symbols):
            twice = sorted({s for s in symbols if symbols.count(s) > 1})
            raise ArgumentError(
                program="Characters", site="symbols", got=f"{twice} more than once" if symbols else "none",
                expected="different characters", hint="Characters.of(text)",
            )  # fmt: skip
        self.symbols, self._index = symbols, index

    @classmethod
    def of(cls, text: str) -> Characters:
        """Return the vocabulary of all characters of a text, sorted."""
        return cls("".join(sorted(set(text))))

    @property
    def size(self) -> int:
        """Number of characters."""
        return len(self.symbols)

    def encode(self, text: str) -> Tensor:
        """Return the tokens of a text, shape (M,).

        Raises:
            SupportError: A character outside the vocabulary; the message says which and where.
        """
        try:
            return torch.tensor([self._index[symbol] for symbol in text], dtype=torch.long)
        except KeyError as error:
            symbol = error.args[0]
            raise SupportError(
                "a character outside the vocabulary", program="Characters", site="text",
                got=f"{symbol!r} at place {text.index(symbol)}", expected=f"one of {self.symbols!r}",
                hint="Characters.of(the whole text)",
            ) from None  # fmt: skip

    def decode(self, tokens: Tensor | Iterable[int]) -> str:
        """Return the text.

        Raises:
            SupportError: A token outside the vocabulary; the message says which and where.
        """
        return "".join(self.symbols[k] for k in self._integers(tokens))

    def __repr__(self) -> str:
        """Return the characters."""
        return f"Characters({self.symbols!r})"


class HasTokens(Protocol):
    """What ``tokenizers.Tokenizer.encode`` returns."""

    ids: list[int]


class Tokenizer(Protocol):
    """The part of ``tokenizers.Tokenizer`` that is used."""

    def encode(self, sequence: Any, /) -> Any:
        """Return an object with ``ids``."""
        ...

    def decode(self, ids: Any, /) -> str:
        """Return the text of ids."""
        ...

    def get_vocab_size(self) -> int:
        """Return V."""
        ...


@final
class TokenizerVocabulary(Vocabulary):
    """A Hugging Face ``tokenizers.Tokenizer``, or any object with its three methods.

    Args:
        tokenizer: Has ``encode(text).ids``, ``decode(ids)`` and ``get_vocab_size()``.

    Raises:
        ArgumentError: A method is missing.

    Example:
        >>> class Bits:  # in place of tokenizers.Tokenizer.from_file("tokenizer.json")
        ...     def encode(self, sequence):
        ...         return type("Encoding", (), {"ids": [int(c) for c in sequence]})()
        ...     def decode(self, ids):
        ...         return "".join(map(str, ids))
        ...     def get_vocab_size(self):
        ...         return 2
        >>> TokenizerVocabulary(Bits()).encode("011")
        tensor([0, 1, 1])
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        missing = [m for m in ("encode", "decode", "get_vocab_size") if not hasattr(tokenizer, m)]
        if missing:
            raise ArgumentError(
                program="TokenizerVocabulary", site="tokenizer",
                got=f"a {type(tokenizer).__name__} without {', '.join(missing)}",
                expected="a tokenizers.Tokenizer",
            )  # fmt: skip
        self.tokenizer = tokenizer

    @property
    def size(self) -> int:
        """V, added tokens included."""
        return int(self.tokenizer.get_vocab_size())

    def encode(self, text: str) -> Tensor:
        """Return the tokens of a text, shape (M,)."""
        return torch.tensor(list(self.tokenizer.encode(text).ids), dtype=torch.long)

    def decode(self, tokens: Tensor | Iterable[int]) -> str:
        """Return the text.

        Raises:
            SupportError: A token outside the vocabulary; the message says which and where.
        """
        return self.tokenizer.decode(self._integers(tokens))
