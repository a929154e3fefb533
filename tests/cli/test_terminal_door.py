"""Text from files reaches a terminal through one door, which escapes it: by the source, and by running commands."""

import ast
import io
import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    file for package in ("mav_lightning", "datamodules", "evaluation") for file in (ROOT / package).rglob("*.py")
)
# What writes to a terminal or a log without escaping → the only files that may use it.
DOORS = {
    "print": (),
    "typer.echo": ("mav_lightning/cli/printing.py",),
    "typer.secho": (),
    "click.echo": (),
    "rich.print": (),
    "sys.stdout.write": (),
    "sys.stderr.write": ("mav_lightning/training/signals.py",),  # from a thread, while the main one may hold a lock
    "logging.getLogger": ("mav_lightning/common/terminal.py", "mav_lightning/training/quiet.py"),
    "logging.basicConfig": (),
    "Console": (),
    "Text.from_markup": (),
}
# Programs that print figures of their own making only.
PROGRAMS = ("evaluation/extractors/training_recipe.py",)


def uses(source: str, where: str) -> list[str]:
    """Uses of the doors that a file may not make, and Rich's text columns that interpret markup."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in DOORS and where not in DOORS[name]:
            found.append(f"{where}:{node.lineno} calls {name}")
        plain = [ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg == "markup"]
        if name == "TextColumn" and plain != [False] and "{" in ast.unparse(node.args[0]):
            found.append(f"{where}:{node.lineno} calls TextColumn with markup")
        if name == "Progress" and not any(keyword.arg == "console" for keyword in node.keywords):
            found.append(f"{where}:{node.lineno} calls Progress without a console")
    return found


def test_nothing_is_printed_past_the_door() -> None:
    shown = {file: file.relative_to(ROOT).as_posix() for file in FILES}
    found = [line for file, name in shown.items() if name not in PROGRAMS for line in uses(file.read_text(), name)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "planted",
    ["print(name)", "typer.echo(name)", "Console().print(name)", "logging.getLogger('x').warning(name)",
     "sys.stdout.write(name)", "TextColumn('{task.description}')", "Progress()"],
)  # fmt: skip
def test_the_rule_finds_a_planted_call(planted: str) -> None:
    assert len(uses(planted, "x.py")) == 1


NAME = "\x1b]0;title\x07\x1b[31m[red]x[/]\x9b1m\u202e:smile:"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name, shards, members, captions and files are hostile."""
    root = tmp_path_factory.mktemp("door") / f"d{NAME.replace('/', '')}"
    (root / "d").mkdir(parents=True)
    with tarfile.open(root / "d" / f"{NAME.replace('/', '')}.tar", "w") as archive:
        for member in (f"{NAME}.mp4", "a.mp4", "b.png", "b.txt"):
            entry = tarfile.TarInfo(member)
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"x"))
    (root / "t.tsv").write_text(f"file\tcaption\n{NAME}\t{NAME}\n", encoding="utf-8")
    (root / "p.tsv").write_text(f"id\tprompt\t{NAME}\nx\n", encoding="utf-8")
    (root / "r.json").write_text('{"protocol": {"name": "\\u001b]0;title\\u0007[/]"}}')
    (root / "v").mkdir()
    (root / "v" / f"{NAME.replace('/', '')}.mp4").write_bytes(b"x")
    return root


COMMANDS = [
    "data index @d", "data lint @d", "data show @d --out s.png", "data pack v --captions t.tsv --out o",
    "motion d --out m.json", "motion v --out m.json",
    "compare @r.json @r.json", "generate --prompts-file @p.tsv --out g",
    "evaluate --generated @d --out e.json",
]  # fmt: skip


def seen(words: list[str], place: Path) -> str:
    """What a terminal receives of a command, with colors."""
    ours, theirs = pty.openpty()
    code = "import sys; sys.argv[0] = 'mav'; from mav_lightning.cli.app import main; main()"
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=place,
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env=environment,
        start_new_session=True,
    ):
        os.close(theirs)
        data = b""
        while True:
            try:
                data += (part := os.read(ours, 65536))
            except OSError:  # the other end is closed
                break
            if not part:
                break
    os.close(ours)
    return data.decode()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_send_no_control_characters_of_names(command: str, place: Path) -> None:
    told = seen([word.replace("@", f"{place}/") for word in command.split()], place)

    assert "Traceback" not in told
    for control in ("\x1b]0;", "\x07", "\x9b", "\u202e", "\x1b[31m[red]", "😄"):
        assert control not in told, told
    assert r"\x1b]0;title\x07" in told, told
