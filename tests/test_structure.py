"""What the house is built like: arrows down, no circles, private Keras in one file, short files."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import l2rw_tf

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "l2rw_tf"
KERAS_INTERNALS = "l2rw_tf/reweighting/keras_internals.py"
PUBLIC = l2rw_tf._HOMES
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60
# From the ground up; a room is a folder or a file of the package. Imports go down, or sideways.
FLOORS = [
    {"l2rw_tf", "errors", "command_line", "quality"},
    {"reweighting", "networks", "data"},
    {"methods"},
    {"runs"},
    {"report", "comparison"},
    {"main", "audit", "compare", "predict"},
    {"__main__"},
]


@functools.cache
def trees() -> dict[str, ast.Module]:
    """The modules of the package by their paths below the root."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported(tree: ast.Module) -> Iterator[str]:
    """Everything that is imported, also within functions and for type checkers alone."""
    for node in ast.walk(tree):
        # A public name is an arrow to where it is defined.
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "l2rw_tf":
            yield f"{PUBLIC.get(node.attr, 'l2rw_tf')}.{node.attr}"
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports of this package are absolute"
            for alias in node.names:
                is_public = node.module == "l2rw_tf" and alias.name in PUBLIC
                yield f"{PUBLIC[alias.name] if is_public else node.module}.{alias.name}"


def arrows() -> dict[str, set[str]]:
    """The modules of the package that each module imports."""
    modules = {module_of(path) for path in trees()}
    graph = {}
    for path, tree in trees().items():
        module = module_of(path)
        graph[module] = set()
        if module == "l2rw_tf":
            continue  # The public names, each loaded when it is first used.
        for name in imported(tree):
            if name not in modules:
                name = name.rpartition(".")[0]  # What is imported is in this module.
            if name in modules:
                graph[module].add(name)
    return graph


def room_of(module: str) -> str:
    return module.removeprefix("l2rw_tf.").partition(".")[0]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that can be reached from each other."""

    def reachable(start: str) -> set[str]:
        found, left = set(), [start]
        while left:
            new = graph[left.pop()] - found
            found |= new
            left += new
        return found

    reach = {node: reachable(node) for node in graph}
    groups = {
        tuple(sorted(other for other in reach[node] if node in reach[other])) for node in graph
    }
    return [list(group) for group in sorted(groups) if group]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def docstring_of(node: ast.AST) -> ast.Constant | None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first.value if isinstance(first.value.value, str) else None
    return None


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines without the docstring."""
    docstring = docstring_of(function)
    of_docstring = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - of_docstring


def test_private_keras_is_in_one_file():
    offenders = [
        f"{path}: {name}"
        for path, tree in trees().items()
        for name in imported(tree)
        if name.startswith("keras.src") and path != KERAS_INTERNALS
    ]
    assert not offenders, "\n".join(offenders)


def test_no_circle():
    found = circles(arrows())
    assert not found, found


def test_no_circle_of_rooms():
    graph = {room_of(module): set() for module in arrows()}
    for module, others in arrows().items():
        graph[room_of(module)] |= {room_of(other) for other in others} - {room_of(module)}
    found = circles(graph)
    assert not found, found


def test_no_arrow_up():
    floor_of = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    unknown = {room_of(module) for module in arrows()} - set(floor_of)
    assert not unknown, "a new room needs a place in FLOORS"
    up = [
        f"{module} -> {other}"
        for module, others in arrows().items()
        for other in sorted(others)
        if floor_of[room_of(other)] > floor_of[room_of(module)]
    ]
    assert not up, "\n".join(up)


def test_no_long_file():
    lines = {path: len((ROOT / path).read_text("utf-8").splitlines()) for path in trees()}
    long = {path: number for path, number in lines.items() if number > LINES_OF_A_FILE}
    assert not long, long


def test_no_long_function():
    long = [
        f"{path}:{function.lineno} {function.name}: {length(function)}"
        for path, tree in trees().items()
        for function in functions(tree)
        if length(function) > LINES_OF_A_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_no_folder_with_more_than_a_third_of_the_lines():
    lines: dict[str, int] = {}
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".j2"):
            room = path.relative_to(PACKAGE).parts[0]
            lines[room] = lines.get(room, 0) + len(path.read_text("utf-8").splitlines())
    whole = sum(lines.values())
    large = {room: number for room, number in lines.items() if 3 * number > whole}
    assert not large, large


def test_the_checks_find_what_they_look_for():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    hidden = (
        "if TYPE_CHECKING:\n"
        "    from l2rw_tf.runs import config\n"
        "def f():\n"
        "    import keras.src.losses as losses\n"
        "    return l2rw_tf.ReweightingModel\n"
    )
    assert set(imported(ast.parse(hidden))) == {
        "l2rw_tf.runs.config",
        "keras.src.losses",
        "l2rw_tf.reweighting.model.ReweightingModel",
    }
    (function,) = functions(ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'))
    assert length(function) == 2
