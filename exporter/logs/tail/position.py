"""How far a file was read, described so that the file is recognised under another name, and another
file in its place is not mistaken for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

FIRST_BYTES = 64
"""How much of a file's beginning, and of what precedes the position, distinguishes it from another
file with the same inode, and from what was written after it was truncated."""


@dataclass(frozen=True)
class TailPosition:
    """Up to where a file has been read."""

    device: int
    inode: int
    offset: int
    """Bytes, always just behind a line feed (or inside a line that is being left out)."""
    beginning: str
    """The file's first bytes, as hex."""
    before: str = ""
    """The bytes before the offset, as hex."""
    written_ns: int = 0
    """When the file was written last, as far as it was read."""
    done: tuple[tuple[int, int, int], ...] = ()
    """Files that were read before: inode, offset, checksum; the newest last."""

    def to_json(self) -> dict[str, Any]:
        """For the state."""
        return vars(self) | {"done": [list(entry) for entry in self.done]}

    @classmethod
    def from_json(cls, data: Any) -> TailPosition | None:
        """The inverse; None for anything else."""
        try:
            done = [entry for entry in data.get("done", ()) if isinstance(entry, list)]
            position = cls(
                int(data["device"]), int(data["inode"]), int(data["offset"]),
                str(data["beginning"]), str(data.get("before", "")),
                int(data.get("written_ns", 0)),
                tuple((int(inode), int(offset), int(check)) for inode, offset, check in done),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return position if position.offset >= 0 else None

    def is_of(self, status: os.stat_result) -> bool:
        """Whether it is the same file, or one with the same inode."""
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def fits(self, fd: int) -> bool:
        """Whether everything that was read is in this file; true of a copy, too."""
        beginning = os.pread(fd, len(self.beginning) // 2, 0)
        return (
            os.fstat(fd).st_size >= self.offset
            and beginning.hex() == self.beginning
            and bytes_before(fd, self.offset).hex().endswith(self.before)
        )


NOWHERE = TailPosition(0, 0, 0, "")
"""In no file yet. With `written_ns`, also what is rotated before the first look is read."""


def bytes_before(fd: int, offset: int) -> bytes:
    """What stands just before `offset`."""
    start = max(0, offset - FIRST_BYTES)
    return os.pread(fd, offset - start, start)
