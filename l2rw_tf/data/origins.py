"""Origins and content hashes of examples, and text cells in files that people open."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence

import numpy as np

from l2rw_tf.data.examples import Examples

# A spreadsheet reads such a cell as a formula; an apostrophe before it makes it text.
_FORMULA = re.compile(r"'*[=+\-@\t]")
_QUOTED_FORMULA = re.compile(r"'+[=+\-@\t]")
_ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}
_ESCAPED = {escape: character for character, escape in _ESCAPES.items()}
_LINE_OF_FILE = re.compile(r"\.csv:\d+$", re.IGNORECASE)
_BLOCK = 256


def content_hash(examples: Examples) -> np.ndarray:
    """Returns a hash of each example's input, without its label.

    Args:
        examples: The examples; their inputs are read a few at a time.

    Returns:
        (n,) str: the first 16 hexadecimal digits of SHA-256 over the input's dtype, shape and
        bytes as they are trained on (images decoded and scaled).
    """
    if examples.contents is not None:
        return examples.contents
    digests = []
    for first in range(0, len(examples), _BLOCK):
        some = np.ascontiguousarray(examples.x[first : first + _BLOCK])
        head = f"{some.dtype.str}{some.shape[1:]}".encode()
        digests += [hashlib.sha256(head + one.tobytes()).hexdigest()[:16] for one in some]
    return np.array(digests, "U16")


def with_contents(examples: Examples) -> Examples:
    """Returns the same examples with their content hashes; this reads all inputs."""
    return dataclasses.replace(examples, contents=content_hash(examples))


def are_files(origins: Sequence[str]) -> bool:
    """Returns whether each example is a file, not a line of a table or an entry of an array."""
    return len(origins) > 0 and all(
        one.startswith("./") and not _LINE_OF_FILE.search(one) for one in origins
    )


def cell(text: str) -> str:
    """Returns a text in one line, as a cell that no spreadsheet reads as a formula.

    Args:
        text: Any text; `text_of` restores it.
    """
    line = re.sub(r"[\\\n\r]", lambda found: _ESCAPES[found[0]], text)
    return f"'{line}" if _FORMULA.match(line) else line


def text_of(cell: str) -> str:
    """Returns the text of a cell made by `cell`; most other cells are returned unchanged.

    Args:
        cell: The cell.
    """
    line = cell[1:] if _QUOTED_FORMULA.match(cell) else cell
    return re.sub(r"\\[\\nr]", lambda found: _ESCAPED[found[0]], line)
