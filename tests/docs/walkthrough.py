"""Following a page as a reader would: writing its files, making its changes, running its commands and its code."""

import atexit
import contextlib
import functools
import io
import json
import os
import re
import shlex
import subprocess
import sys
import types
import uuid
from pathlib import Path
from typing import IO, cast

from tests.docs.pages import ROOT, Block, blocks, title_of

_ASSIGNMENT = re.compile(r"(?:export )?(?P<name>[A-Z_]+)=(?P<value>.*)")


class Walkthrough:
    """One page followed in a folder of its own.

    Attributes:
        folder: Where the reader is; `cd` changes it.
        commands: How many commands were run.
    """

    def __init__(self, page: Path, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.page = page
        self.folder = folder
        self.commands = 0
        self._code = 0
        self._printed = ""
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",  # pages change a file twice within a second
            "HOME": str(folder),
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "110",
            **(environment or {}),
        }
        self._module = types.ModuleType(f"page_{uuid.uuid4().hex}")

    def follow(self) -> None:
        """Do everything that the page says, and compare what it shows."""
        sys.modules[self._module.__name__] = self._module
        sys.path.insert(0, str(self.folder))
        start = self.folder
        try:
            for block in blocks(self.page):
                if not block.reason:
                    self._do(block)
        finally:
            sys.path.remove(str(start))
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", None) or "").startswith(f"{start}{os.sep}"):
                    del sys.modules[name]
            sys.modules.pop(self._module.__name__, None)

    def _do(self, block: Block) -> None:
        if block.file_name is not None:
            path = self.folder / block.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text + "\n", encoding="utf-8")
        elif block.language == "console":
            self._run_commands(block)
        elif block.language == "diff":
            self._change(block)
        elif block.language == "python":
            self._execute(block)
        elif block.language == "text" and self._printed:
            self._compare(block.text, self._printed, block.line)
            self._printed = ""

    # -- commands ---------------------------------------------------------------------------------------------------

    def _run_commands(self, block: Block) -> None:
        steps: list[tuple[int, str, list[str]]] = []
        for number, line in enumerate(block.text.splitlines(), start=block.line):
            if line.startswith("$ "):
                steps.append((number, line.removeprefix("$ "), []))
            else:
                assert steps, f"{title_of(self.page)}:{number}: output without a command"
                steps[-1][2].append(line)
        for index, (number, command, expected) in enumerate(steps):
            told = index + 1 < len(steps) and steps[index + 1][1] == "echo $?"
            shown = self._run(command, number, may_fail=told)
            self._compare("\n".join(expected), shown, number)

    def _run(self, command: str, number: int, *, may_fail: bool) -> str:
        command = command.partition("   #")[0]
        self.commands += 1
        if command == "echo $?":
            return str(self._code)
        if command.startswith("cd "):
            self.folder = self.folder / command.removeprefix("cd ")
            return ""
        if match := _ASSIGNMENT.fullmatch(command):
            self._environment[match["name"]] = self._shell(f"printf %s {match['value']}").stdout
            return ""
        words = shlex.split(command)
        done = self._assetline(words[1:]) if words[0] == "assetline" else self._shell(command)
        self._code = done.returncode
        shown = done.stdout or done.stderr
        assert may_fail or not done.returncode, f"{title_of(self.page)}:{number}: {command}\n{done.stderr}"
        return shown

    def _assetline(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        known = self._environment
        words = [re.sub(r"\$(\w+)", lambda match: known.get(match[1], ""), word) for word in words]
        requests, answers = _command_server()
        print(
            json.dumps({"arguments": words, "folder": str(self.folder), "environment": known}),
            file=requests,
            flush=True,
        )
        answer = json.loads(answers.readline())
        return subprocess.CompletedProcess(words, answer["code"], answer["stdout"], answer["stderr"])

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _compare(self, expected: str, shown: str, number: int) -> None:
        if not expected.strip() and self._code == 0:
            return  # a page need not repeat what is of no interest
        pattern = _pattern(expected)
        assert re.fullmatch(pattern, _plain(shown)), (
            f"{title_of(self.page)}:{number} shows\n{expected}\nbut the command prints\n{shown}"
        )

    # -- files and code ---------------------------------------------------------------------------------------------

    def _change(self, block: Block) -> None:
        place = f"{title_of(self.page)}:{block.line}"
        name, old, new = "", [], []
        for line in block.text.splitlines():
            if line.startswith("+++ "):
                name = line.removeprefix("+++ ")
            elif not line.startswith(("--- ", "@@")):
                if not line.startswith("+"):
                    old.append(line[1:])
                if not line.startswith("-"):
                    new.append(line[1:])
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        before, after = "\n".join(old) + "\n", "\n".join(new) + "\n"
        assert text.count(before) == 1, (
            f"{place}: {name} has these lines {text.count(before)} times:\n{before}"
        )
        path.write_text(text.replace(before, after), encoding="utf-8")

    def _execute(self, block: Block) -> None:
        # all Python of the page is one file, so that the code of its functions is found
        path = self.folder / f"{self._module.__name__}.py"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(f"{before}{block.text}\n\n\n", encoding="utf-8")
        source = "\n" * before.count("\n") + block.text
        self._module.__file__ = str(path)
        printed = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed):
            exec(compile(source, str(path), "exec"), self._module.__dict__)
        self._printed = printed.getvalue()


@functools.cache
def _command_server() -> tuple[IO[str], IO[str]]:
    """Where to send requests and read answers; the server ends with this process, whose end of the pipe closes."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.docs.command_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_stop, server)
    return cast("IO[str]", server.stdin), cast("IO[str]", server.stdout)


def _stop(server: "subprocess.Popen[str]") -> None:
    for pipe in (server.stdin, server.stdout):
        if pipe is not None:
            pipe.close()
    server.wait()


def _plain(text: str) -> str:
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line)


def _pattern(expected: str) -> str:
    parts = []
    for line in _plain(expected).splitlines():
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*")
        else:
            parts.append(r"[^\n]*?".join(re.escape(part) for part in line.split("...")) + r"\n")
    text = "".join(parts)
    # the last line has no line end in what is compared
    return text[: -len(r"\n")] if text.endswith(r"\n") else text + r"[^\n]*"
