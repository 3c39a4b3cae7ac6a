"""The answers of a question, in any of the layouts in use, converted to SQuAD's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tombola.tasks.data.rows import is_text

__all__ = ["Answers", "answers_of"]

Answers = dict[str, list[Any]]
"""`text` and `answer_start`: the answers, and the character of the context where each begins."""

KNOWN = "answers as {text: [...], answer_start: [...]}, a list of {text, answer_start}, or one text"


def answers_of(value: Any, context: str) -> Answers:
    """The answers as two lists.

    Args:
        value: a dictionary of lists, or of one text and its start; a list of dictionaries with one
            answer each; a text, or a list of texts; or any of these as JSON. A start may be
            written as text. Where there is none, the answer must occur in the context once.
        context: the first answer must be where it is said to start.

    Raises: ValueError, saying what was expected, for anything else.
    """
    texts, starts = _lists(_parsed(value))
    if not texts:
        raise ValueError("an answer")
    if not all(map(is_text, texts)) or len(starts) != len(texts):
        raise ValueError(KNOWN)
    if not texts[0].strip():
        raise ValueError("an answer that is not blank")
    places = [_start(s, text, context) for s, text in zip(starts, texts, strict=True)]
    first, text = places[0], texts[0]
    if not first >= 0 or context[first : first + len(text)] != text:
        raise ValueError(
            f"the answer {text!r} at character {first} of the context, where there is "
            f"{context[max(first, 0) : max(first, 0) + len(text)]!r}"
        )
    return {"text": texts, "answer_start": places}


def _parsed(value: Any) -> Any:
    """What JSON says, if a text is JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(KNOWN) from None
    return value


def _lists(value: Any) -> tuple[list[Any], list[Any]]:
    """The texts and the starts, unchecked."""
    if value is None:
        return [], []
    if isinstance(value, str):
        return [value], [None]
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, str):
            return [texts], [starts[0] if isinstance(starts, list) and len(starts) == 1 else starts]
        texts = [] if texts is None else texts
        starts = [None] * len(texts) if starts is None and isinstance(texts, list) else starts
        if isinstance(texts, list) and isinstance(starts, list):
            return texts, starts
    if isinstance(value, Sequence):
        pairs = [_lists(each) for each in value]
        return [t for texts, _ in pairs for t in texts], [s for _, starts in pairs for s in starts]
    raise ValueError(KNOWN)


def _start(start: Any, text: str, context: str) -> int:
    """Where an answer begins; found in the context where nothing says it."""
    if isinstance(start, str) and start.strip().isdecimal():
        return int(start)
    if isinstance(start, float) and start.is_integer():
        return int(start)
    if isinstance(start, int) and not isinstance(start, bool):
        return start
    if start is not None:
        raise ValueError(f"a whole number as answer_start, got {start!r}")
    if (count := context.count(text)) != 1:
        raise ValueError(
            f"an answer_start, or an answer that occurs in the context once, which {text!r} does "
            f"{count} times"
        )
    return context.index(text)
