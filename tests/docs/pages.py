"""Reading the documentation: its pages, their blocks of code, their headings and links.

How pages are written so that they can be run:

- a `python` or `toml` block whose first line is `# NAME.py` or `# NAME.toml` is that file;
- a `diff` block changes the file that its `+++ NAME` line names;
- a `console` block holds commands after `$ ` with the output they give; runs of blanks count as one, `...` in a line
  stands for any text, and a line that is only `...` for any lines. Shown is what the command prints on stdout, or
  on stderr when that is all;
- other `python` blocks of a page run one after the other, as one module; a `text` block right behind one is what it
  prints;
- `<!-- not run: REASON -->` before a block leaves it out; Python is compiled all the same.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"```(?P<language>\w*)\s*$")
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^>]+) -->")
_FILE_LINE = re.compile(r"# (?P<name>[\w./-]+\.(?:py|toml))")
_HEADING = re.compile(r"#{1,6} (?P<title>.+)")
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text, `reason` why it is not run."""

    language: str
    text: str
    line: int
    reason: str

    @property
    def file_name(self) -> str | None:
        """The file that the block is, None when it is none."""
        match = _FILE_LINE.fullmatch(self.text.partition("\n")[0])
        return match["name"] if match and self.language in ("python", "toml") else None


def pages() -> list[Path]:
    """Every page, README and changelog included."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def title_of(page: Path) -> str:
    """A page's path below the repository, as a test's id."""
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    language: str | None = None
    lines: list[str] = []
    start = 0
    reason = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.fullmatch(line.strip())
        if language is None:
            if fence:
                language, lines, start = fence["language"], [], number + 1
            elif match := _NOT_RUN.fullmatch(line.strip()):
                reason = match["reason"]
            elif line.strip():
                reason = ""
        elif fence and not fence["language"]:
            found.append(Block(language, "\n".join(lines), start, reason))
            language, reason = None, ""
        else:
            lines.append(line)
    assert language is None, f"{page}: a block is not closed"
    return found


def prose(page: Path) -> str:
    """A page's text without its blocks."""
    kept: list[str] = []
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.fullmatch(line.strip()):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings can be linked by."""
    found: set[str] = set()
    for line in prose(page).splitlines():
        if match := _HEADING.fullmatch(line):
            slug = re.sub(r"[^\w\- ]", "", match["title"].lower()).replace(" ", "-")
            found.add(slug)
    return found


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links."""
    for match in _LINK.finditer(prose(page)):
        yield match["target"]
