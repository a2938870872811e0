"""Settings as dataclasses: each field defines a flag, its checks, help and line in a flagfile.

TensorFlow is not imported here, so that `--help` and errors in flags appear at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import operator
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from absl import flags

from l2rw_tf.errors import UsageError


def setting(
    default: Any,
    help_text: str,
    *,
    group: str,
    choices: Sequence[str] = (),
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    affects_result: bool = True,
    is_common: bool = False,
) -> Any:
    """Declares one field of a `Settings` class.

    Args:
        default: The default; None only if the field's type allows it.
        help_text: The meaning, for `--helpfull`; the first sentence must be clear by itself.
        group: The heading in `--helpfull`.
        choices: The possible texts, if not all are possible.
        at_least: Smallest value.
        at_most: Largest value.
        above: Exclusive lower bound.
        below: Exclusive upper bound.
        affects_result: Whether the field changes what is computed, for `differences`.
        is_common: Whether `--help` shows the flag, with the first sentence of `help_text`.
    """
    limits = {"at least": at_least, "at most": at_most, "above": above, "below": below}
    metadata = {
        "help": help_text,
        "group": group,
        "choices": tuple(choices),
        "affects_result": affects_result,
        "is_common": is_common,
        "limits": {words: limit for words, limit in limits.items() if limit is not None},
    }
    return dataclasses.field(default=default, metadata=metadata)


_Part = TypeVar("_Part", bound="Settings")


class Settings:
    """The base of frozen dataclasses whose fields are flags, each declared by `setting`.

    Raises:
        UsageError: If a value is of another type or out of range, or two fields contradict
            each other. The message names the field, the value and what is possible.
    """

    def __post_init__(self) -> None:
        """Checks every field by itself, then the fields of each class together."""
        for field in dataclasses.fields(self):
            value = _checked(type(self), field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        for kind in reversed(type(self).__mro__):
            if "check_together" in vars(kind):
                kind.check_together(self)

    def check_together(self) -> None:
        """Checks fields that depend on each other; each value already has its field's type.

        The `check_together` of every class that settings are composed of is called.
        """

    def part(self, kind: type[_Part]) -> _Part:
        """Returns the settings of one of the classes that these are composed of.

        Args:
            kind: That class.
        """
        return kind(**{field.name: getattr(self, field.name) for field in dataclasses.fields(kind)})

    def flag_lines(self) -> list[str]:
        """Returns the flags that reproduce these settings, one `--name=value` each."""
        return [
            f"--{field.name}={as_text(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None
        ]


def differences(there: Settings, here: Settings) -> list[str]:
    """Returns the differences of two settings of one class that change what is computed.

    Args:
        there: The settings of an existing run.
        here: The settings that were given.

    Returns:
        Text, "NAME (VALUE there, VALUE here)".
    """
    found = []
    for field in dataclasses.fields(there):
        values = getattr(there, field.name), getattr(here, field.name)
        if field.metadata["affects_result"] and values[0] != values[1]:
            old, new = (
                "not given" if value is None else as_text(value) or "empty" for value in values
            )
            found.append(f"{field.name} ({old} there, {new} here)")
    return found


def from_arguments(arguments: Sequence[str], *kinds: type[Settings]) -> tuple[Settings, ...]:
    """Parses command line arguments, flagfiles included.

    Args:
        arguments: What follows the program's name: `--flag=value`, `--flag value`, `--[no]flag`,
            `--flagfile=FILE`. A later flag wins over an earlier one.
        *kinds: The classes whose fields are the flags; no name occurs in two of them.

    Returns:
        Settings of each class.

    Raises:
        UsageError: If a flag is unknown or its value unusable, a flagfile cannot be read, or an
            argument is not a flag.
    """
    values = parse(arguments, *kinds)
    return tuple(
        kind(**{field.name: values[field.name].value for field in dataclasses.fields(kind)})
        for kind in kinds
    )


def with_inputs(arguments: Sequence[str], kind: type[_Part]) -> tuple[_Part, list[str]]:
    """Parses command line arguments of a program that takes more than flags.

    Args:
        arguments: What follows the program's name.
        kind: The class whose fields are the flags.

    Returns:
        Settings of the class, and the arguments that are not flags, in their order.

    Raises:
        UsageError: As in `from_arguments`, except for arguments that are not flags.
    """
    values, inputs = _parsed(arguments, [kind])
    given = {field.name: values[field.name].value for field in dataclasses.fields(kind)}
    return kind(**given), inputs


def parse(arguments: Sequence[str], *kinds: type[Settings]) -> flags.FlagValues:
    """Parses command line arguments, as `from_arguments` does, without checks of the values.

    Args:
        arguments: What follows the program's name.
        *kinds: The classes whose fields are the flags.

    Returns:
        absl's flags by name.

    Raises:
        UsageError: As in `from_arguments`.
    """
    values, stray = _parsed(arguments, kinds)
    if stray:
        raise UsageError(
            f"{stray[0]!r} is not a flag: flags are given as --name=value, --helpfull shows all "
            "flags."
        )
    return values


def _parsed(
    arguments: Sequence[str], kinds: Sequence[type[Settings]]
) -> tuple[flags.FlagValues, list[str]]:
    """Returns absl's flags by name, and the arguments that are not flags."""
    values = _define_flags(kinds)
    # Flags may come after other arguments.
    values.set_gnu_getopt(True)
    try:
        _, *stray = values(["l2rw", *arguments])
    except flags.UnrecognizedFlagError as error:
        is_typed = any(one.lstrip("-").split("=")[0] == error.flagname for one in arguments)
        files = ", ".join(one for one in arguments if "-flagfile" in one)
        raise UsageError(
            f"--{error.flagname}{'' if is_typed else ' in ' + files} is not a flag"
            f"{suggestion(error.flagname, values, '--')}: --helpfull shows all flags."
        ) from error
    except flags.CantOpenFlagFileError as error:
        cause = error.__context__
        name, reason = getattr(cause, "filename", ""), getattr(cause, "strerror", cause)
        raise UsageError(f"--flagfile={name} cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise UsageError("The file given by --flagfile is not a text file in UTF-8.") from error
    except flags.Error as error:
        message = " ".join(str(error).split()).removeprefix("flag ")
        raise UsageError(message.rstrip(".") + ".") from error
    except ValueError as error:
        # The only error that absl does not convert: --noNAME=VALUE of a switch.
        given = str(error).partition("=")[0]
        raise UsageError(
            f"{given} takes no value: write {given} or --{given.lstrip('-')[2:]}=false."
        ) from error
    return values, stray


def _define_flags(kinds: Sequence[type[Settings]]) -> flags.FlagValues:
    """Defines a flag for every field, in a separate collection.

    Libraries that are imported later add their flags to absl's global collection.
    """
    values = flags.FlagValues()
    for kind in kinds:
        for field in dataclasses.fields(kind):
            value_type = _type_of(kind, field)
            parser, is_switch = _Parser(value_type), value_type.base is bool
            flag = flags.Flag(parser, None, field.name, field.default, "", boolean=is_switch)
            flags.DEFINE_flag(flag, values)
    return values


class _Parser(flags.ArgumentParser):
    """Reads values of a field's type; an empty text means None if the type allows it."""

    def __init__(self, value_type: _Type) -> None:
        self._type = value_type

    def parse(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            return argument
        if self._type.optional and not argument:
            return None
        try:
            if self._type.base is bool:
                return flags.BooleanParser().parse(argument)
            if self._type.item is None:
                return self._type.base(argument)
            parts = (part.strip() for part in argument.split(","))
            return tuple(self._type.item(part) for part in parts if part)
        except ValueError:
            between = "" if self._type.item is None else " with commas between them"
            raise ValueError(
                f"needs {_WANTED[self._type.base, self._type.item]}{between}"
            ) from None


_LARGEST_INTEGER = 2**31 - 1
_HOLDS = {
    "at least": operator.ge,
    "at most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}
_WANTED = {
    (str, None): "a text",
    (bool, None): "true or false",
    (int, None): "a whole number",
    (float, None): "a number",
    (tuple, str): "a sequence of texts",
    (tuple, int): "a sequence of whole numbers",
    (tuple, float): "a sequence of numbers",
}


@dataclasses.dataclass(frozen=True)
class _Type:
    """A field's type: `base`, the type of a tuple's items, and whether None is possible."""

    base: type
    item: type | None
    optional: bool


@functools.cache
def _types(kind: type[Settings]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _type_of(kind: type[Settings], field: dataclasses.Field) -> _Type:
    hint = _types(kind)[field.name]
    if isinstance(hint, types.UnionType):
        return _Type(typing.get_args(hint)[0], None, True)
    if typing.get_origin(hint) is tuple:
        return _Type(tuple, typing.get_args(hint)[0], False)
    return _Type(hint, None, False)


def _checked(kind: type[Settings], field: dataclasses.Field, value: Any) -> Any:
    """Returns the value in the field's type, or raises an error."""
    wanted = _type_of(kind, field)
    if value is None and wanted.optional:
        return None
    if wanted.base is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            _refuse_type(field, wanted, value)
        return tuple(_checked_value(field, wanted, wanted.item, item) for item in value)
    return _checked_value(field, wanted, wanted.base, value)


def _checked_value(field: dataclasses.Field, wanted: _Type, base: type, value: Any) -> Any:
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, base) or (base is int and isinstance(value, bool)):
        _refuse_type(field, wanted, value)
    if base is str:
        _check_text(field, value)
    elif base is not bool:
        _check_number(field, value)
    return value


def _refuse_type(field: dataclasses.Field, wanted: _Type, value: Any) -> None:
    raise UsageError(f"{field.name} must be {_WANTED[wanted.base, wanted.item]}, got {value!r}.")


def _check_text(field: dataclasses.Field, value: str) -> None:
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise UsageError(
            f"{field.name} must be one of {', '.join(choices)}, "
            f"got {value!r}{suggestion(value, choices)}."
        )
    # A flagfile is read line by line, and its lines are stripped.
    if value != value.strip() or not value.isprintable():
        raise UsageError(
            f"{field.name} must be printable text with no spaces around it, got {value!r}."
        )


def _check_number(field: dataclasses.Field, value: float) -> None:
    limits = field.metadata["limits"]
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise UsageError(f"{field.name} must be at most {_LARGEST_INTEGER}, got {value}.")
    if math.isfinite(value) and all(_HOLDS[words](value, limit) for words, limit in limits.items()):
        return
    if {"at least", "at most"} <= set(limits):
        possible = f"lie between {limits['at least']:g} and {limits['at most']:g}"
    elif limits:
        possible = "be " + " and ".join(f"{words} {limit:.10g}" for words, limit in limits.items())
    else:
        possible = "be a finite number"
    raise UsageError(f"{field.name} must {possible}, got {value!r}.")


def suggestion(given: str, possible: Iterable[str], prefix: str = "") -> str:
    """Returns " (did you mean NAME?)" if one of the possible names is like the given one."""
    nearest = difflib.get_close_matches(given, possible, n=1)
    return f" (did you mean {prefix}{nearest[0]}?)" if nearest else ""


def as_text(value: Any) -> str:
    """Returns the value as a flag takes it; `repr` keeps every digit of a float."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(as_text(item) for item in value)
    return value if isinstance(value, str) else repr(value)
