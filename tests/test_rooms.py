"""Files, classes and functions: unique names, moderate sizes, no concept cut in two."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = sorted(
    file for package in ("mav_lightning", "datamodules", "evaluation") for file in (ROOT / package).rglob("*.py")
)
MAX_FILE, MAX_FUNCTION, CRUMB = 300, 40, 35


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Each file and its syntax tree. They are not kept: together they take 60 MiB in every test process."""
    yield from ((file, ast.parse(file.read_text())) for file in FILES)


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def length(file: Path) -> int:
    return len(file.read_text().splitlines())


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring. Signatures take one line per argument and do not count."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def importers() -> dict[str, set[str]]:
    """Module → modules that import it."""
    modules = {module_of(file) for file in FILES}
    found: dict[str, set[str]] = defaultdict(set)
    for file, tree in trees():
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in modules else node.module for name in names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in set(names) & modules:
                found[name].add(module_of(file))
    return found


def is_program(tree: ast.Module) -> bool:
    """Whether a file is run by its path, as its own process, so that it cannot be merged into another."""
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)


def test_file_names_are_unique() -> None:
    names = Counter(file.name for file in FILES if file.name not in ("__init__.py", "base.py"))
    assert not {name: count for name, count in names.items() if count > 1}


def test_public_class_names_are_unique() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file, tree in trees():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(shown(file))
    assert not {name: files for name, files in places.items() if len(files) > 1}


def test_files_are_short() -> None:
    assert not {shown(file): length(file) for file in FILES if length(file) > MAX_FILE}


def test_functions_are_short() -> None:
    functions = {
        f"{shown(file)}: {node.name}": body_length(node)
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: lines for name, lines in functions.items() if lines > MAX_FUNCTION}


def test_no_small_file_serves_only_one_other() -> None:
    used_by = importers()
    crumbs = {
        shown(file): used_by[module_of(file)]
        for file, tree in trees()
        if length(file) < CRUMB and file.name != "__init__.py" and not is_program(tree)
        if file.parent.name not in ("cli", "extractors")  # of which each command and each extractor is a file
        if len(used_by[module_of(file)]) == 1
    }
    assert not crumbs
