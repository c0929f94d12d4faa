"""Text for language models: the first 90 % of the characters train, the rest is held out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from unigen.data.download import DataFile, DataFileError, fetch

SHAKESPEARE = DataFile(
    "tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
)


class Text(NamedTuple):
    """A text in two parts.

    Args:
        train: Its first part.
        test: What follows.
    """

    train: str
    test: str


def split_text(text: str, held_out: float = 0.1) -> Text:
    """Cut a text once, at ⌊(1 − held_out) · length⌋ characters.

    Args:
        text: The text.
        held_out: Fraction that is kept for testing, in (0, 1).

    Returns:
        Both parts.

    Raises:
        DataFileError: A part is empty.

    Example:
        >>> split_text("0123456789")
        Text(train='012345678', test='9')
    """
    cut = int(len(text) * (1.0 - held_out))
    if not 0 < cut < len(text):
        raise DataFileError(site="text", got=f"{len(text)} characters", expected="enough for two parts")
    return Text(text[:cut], text[cut:])


def shakespeare(data_dir: str | Path | None = None) -> Text:
    """Load tinyshakespeare: 1,115,394 characters, 65 different ones; the last 10 % are held out.

    Args:
        data_dir: Folder that holds ``tinyshakespeare/``; the user's cache, filled by download, if omitted.

    Returns:
        (train, test), 1,003,854 and 111,540 characters.

    Raises:
        DataFileError: The file is missing and cannot be downloaded, or is not the published one.

    References:
        Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015.

    Example:
        >>> SHAKESPEARE.path  # below the data directory
        'tinyshakespeare/input.txt'
    """
    return split_text(fetch(SHAKESPEARE, data_dir).read_text(encoding="utf-8"))
