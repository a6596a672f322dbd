"""The one line of a failed program's output that says why it failed."""

from __future__ import annotations

import re

_LOOKED_AT = 12
"""Lines at the end in which any word of a failure tells; before them a loud one."""
_TRACEBACK = re.compile(r"^(?:  \+ Exception Group )?Traceback \(most recent call last\):\s*$")
_TELLING = re.compile(
    r"\b(?:fatal|critical|error|panic(?:ked)?|exception|fail(?:ed|ure|s)?|cannot|can't|could not|"
    r"couldn't|unable|denied|refused|rejected|invalid|missing|not found|no such|not allowed|"
    r"unknown|timed? ?out|abort(?:ed|ing)?|killed|segmentation fault|insufficient|unauthori[sz]ed|"
    r"forbidden|expired|disconnected|lost)\b|\w(?:Error|Exception)\b",
    re.IGNORECASE,
)
_LOUD = re.compile(r"\b(?:FATAL|CRITICAL|ERROR)\b")
_LOUD_OR_NAMED = re.compile(
    rf"{_LOUD.pattern}|\bpanic(?:ked)?\b|^(?:\w+\.)*\w*(?:Error|Exception)\b"
)
_WARNING = re.compile(r"\b\w*Warning: ")
_SHELL = re.compile(r"(?:Aborted|Killed|Terminated|Segmentation fault)(?: \(core dumped\))?")
"""Says that a program ended, not why."""
_WHAT = re.compile(r"\s+what\(\):\s")
"""The text of a C++ exception."""
_NOT_TELLING = re.compile(r"\b(?:0|no|without) (?:errors?|failures?|failed)\b", re.IGNORECASE)


def headline(output: str) -> str:
    """The exception of an uncaught Python error, otherwise the last line that mentions a failure,
    otherwise the last line; empty when there was no output. A line that ends with a colon is
    followed by the next one."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    if not lines:
        return ""
    tracebacks = [n for n, line in enumerate(lines) if _TRACEBACK.match(line)]
    if tracebacks:
        found = _exception(lines[tracebacks[-1] + 1 :])
        if found:
            return found
    # What is indented explains the line before it: the frames of other languages' stacks.
    outer = [n for n, line in enumerate(lines) if not line[:1].isspace() or _WHAT.match(line)]
    texts = {n: lines[n].strip() for n in outer}
    telling = [n for n in outer[-_LOOKED_AT:] if _tells(texts[n])]
    why = [n for n in telling if not _SHELL.fullmatch(texts[n])]
    loud = [n for n in outer if _LOUD_OR_NAMED.search(texts[n]) and _tells(texts[n])]
    chosen = (why or loud or telling or outer or [len(lines) - 1])[-1]
    return _with_next(lines, chosen)


def _with_next(lines: list[str], chosen: int) -> str:
    text = lines[chosen].strip()
    if text.endswith(":") and chosen + 1 < len(lines):  # Rust, and others: what it was comes next
        text = f"{text} {lines[chosen + 1].strip()}"
    return text


def _tells(line: str) -> bool:
    if line.startswith("what():"):
        return True
    return not _WARNING.search(line) and bool(_TELLING.search(_NOT_TELLING.sub("", line)))


def _exception(lines: list[str]) -> str:
    """The exception's line, below its frames; nothing when a later line is another failure's."""
    for n, line in enumerate(lines):
        text = line.removeprefix("  | ")
        if text.startswith((" ", "|", "+", "> File ")):  # Loguru marks a frame by >
            continue
        below = lines[n + 1 :]
        if any(_LOUD.search(each) for each in below):
            return ""
        return f"{text} {below[0].strip()}" if text.endswith(":") and below else text
    return ""
