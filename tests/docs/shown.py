"""The commands that README and documentation show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = {"", "bash", "sh", "console"}
ENDS = {"|", ">", "&&", "&", ";"}  # of a command, on the line of a shell


def code_of(page: Path, languages: set[str]) -> Iterator[tuple[int, str]]:
    """Give number and text of each line of code in these languages; an indented one has none."""
    fence, before = None, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            fence = line[3:].strip() if fence is None else None
        elif fence is not None:
            if fence in languages:
                yield number, line
        elif line.startswith("    ") and "" in languages and (not before or before[:4] == "    "):
            yield number, line.strip()
        before = line


def commands_of(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Give number and words of each command of ours: in blocks of code, and complete ones in a sentence.

    They can be pasted as they stand: what is said of a command stands behind a #.
    """
    found = list(code_of(page, SHELL))
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        found += [(number, code) for code in re.findall(r"`(resnetlab [a-z-]+ [^`]+)`", line)]
    for number, line in found:
        start = re.search(r"(?:^|[ |])resnetlab (?=[a-z-])", line)
        if start:
            words = shlex.split(line[start.end() :], comments=True)
            end = next((place for place, word in enumerate(words) if word in ENDS), len(words))
            yield number, words[:end]
