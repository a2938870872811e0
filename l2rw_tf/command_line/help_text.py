"""The help of a program: `--help` is one screen of its common flags, `--helpfull` has all flags."""

from __future__ import annotations

import dataclasses
import functools
import textwrap
from collections.abc import Sequence

from l2rw_tf.command_line.settings import Settings, as_text

WIDTH = 100

_wrap = functools.partial(
    textwrap.wrap, width=WIDTH, break_long_words=False, break_on_hyphens=False
)
_FLAGFILE = "Reads flags from a file, one per line; # starts a comment. Later flags win."


def short(usage: str, *kinds: type[Settings]) -> str:
    """Returns the common flags of a program, with defaults and the first sentence of their help.

    Args:
        usage: The lines that say what the program does and how it is called.
        *kinds: The classes whose fields are the flags, the program's own first. The common flags of
            the others, which belong to another program, are in `--helpfull` only.
    """
    common = [field for field in dataclasses.fields(kinds[0]) if field.metadata["is_common"]]
    meanings = {_flag(one): _with_choices(one, _first_sentence(one)) for one in common}
    meanings["--flagfile=FILE"] = _FLAGFILE
    margin = max(map(len, meanings)) + 4
    lines = [usage.rstrip(), ""]
    for head, meaning in meanings.items():
        indents = {"initial_indent": f"  {head}".ljust(margin), "subsequent_indent": " " * margin}
        lines += _wrap(meaning, **indents)
    number = sum(len(dataclasses.fields(kind)) for kind in kinds)
    return "\n".join([*lines, "", f"--helpfull shows all {number} flags and more about these."])


def full(usage: str, *kinds: type[Settings]) -> str:
    """Returns every flag with its default and meaning, grouped as in the classes.

    Args:
        usage: The lines that say what the program does and how it is called.
        *kinds: The classes whose fields are the flags.
    """
    groups: dict[str, list[dataclasses.Field]] = {}
    for kind in kinds:
        for field in dataclasses.fields(kind):
            groups.setdefault(field.metadata["group"], []).append(field)
    lines = [usage.rstrip()]
    for group, fields in groups.items():
        lines.append(f"\n{group}:")
        for field in fields:
            head = _flag(field)
            if isinstance(field.default, bool):
                head = f"--[no]{field.name} (default: {as_text(field.default)})"
            lines += _entry(head, _with_choices(field, field.metadata["help"]))
    lines += ["\nAlso:", *_entry("--flagfile=FILE", _FLAGFILE)]
    lines += _entry("--help", "Shows the most used flags on one screen.")
    return "\n".join(lines)


def _flag(field: dataclasses.Field) -> str:
    return f"--{field.name}={'' if field.default is None else as_text(field.default)}"


def _entry(head: str, meaning: str) -> Sequence[str]:
    return [f"  {head}", *_wrap(meaning, initial_indent=" " * 6, subsequent_indent=" " * 6)]


def _first_sentence(field: dataclasses.Field) -> str:
    sentence, is_first, _ = field.metadata["help"].partition(". ")
    return f"{sentence}." if is_first else sentence


def _with_choices(field: dataclasses.Field, meaning: str) -> str:
    choices = field.metadata["choices"]
    return f"{meaning} One of {', '.join(choices)}." if choices else meaning
