"""`python -m l2rw_tf COMMAND` and, installed, `l2rw COMMAND`: the programs under one name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

# The module of each command, whose `main(arguments)` runs it, and its description.
COMMANDS = {
    "train": ("l2rw_tf.main", "train, evaluate and write a run directory"),
    "predict": ("l2rw_tf.predict", "classify images or rows of a table with a run's network"),
    "audit": ("l2rw_tf.audit", "rank a run's training examples by label quality"),
    "compare": ("l2rw_tf.compare", "compare methods over seeds in one table and one figure"),
}


def main(arguments: Sequence[str]) -> int:
    """Runs one of the programs.

    Args:
        arguments: The command, and its arguments.

    Returns:
        The exit code of the program; 2 if there is no such command.
    """
    overview = "\n".join(
        ["usage: l2rw COMMAND [--flag=value ...]", ""]
        + [f"  {name:8} {purpose}" for name, (_, purpose) in COMMANDS.items()]
        + ["", "e.g.   l2rw train --dataset=digits --noise_type=uniform --noise_ratio=0.4"]
        + ["", "l2rw COMMAND --help shows its common flags, l2rw COMMAND --helpfull shows all."]
    )
    if arguments and arguments[0] in ("--help", "--helpfull", "-h", "-help", "help"):
        print(overview)
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        found = f"got {arguments[0]!r}" if arguments else "got none"
        print(f"l2rw: the command must be {' or '.join(COMMANDS)}, {found}.", file=sys.stderr)
        return 2
    module, _ = COMMANDS[arguments[0]]
    return importlib.import_module(module).main(arguments[1:])


def console() -> None:
    """The entry point of the installed command."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    console()
