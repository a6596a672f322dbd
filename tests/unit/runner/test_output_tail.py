"""Output: its last lines as a terminal shows them, and the line that says why a run failed."""

from __future__ import annotations

import time

import pytest

from exporter.runner.headline import headline
from exporter.runner.output_tail import _RAW_BYTES, TAIL_CHARS, OutputTail


def tail(*pieces: bytes) -> str:
    output = OutputTail()
    for piece in pieces:
        output.add(piece)
    return output.text()


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"plain\ntext\n", "plain\ntext"),
        (b"10%\r20%\r100%\ndone", "100%\ndone"),
        (b"100% of 20\r30%", "30%% of 20"),
        (b"long words\r\x1b[Kshort", "short"),
        (b"long words\x1b[2K\rshort", "short"),
        (b"dos\r\nlines\r\n", "dos\nlines"),
        (b"bar 3/3\r", "bar 3/3"),
        (b"\x1b[31;1mERROR\x1b[0m: \x1b]0;title\x07exchange said no", "ERROR: exchange said no"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"|/-\b\b\bok ", "ok"),
        (b"a: 1\nb: 1\n\x1b[2Aa: 2\x1b[K\nb: 2\x1b[K\nend", "a: 2\nb: 2\nend"),
        (b"old\nold\x1b[1A\r\x1b[Jnew", "new"),
        (b"ab\x1b[2Cc", "ab  c"),
        (b"abcd\x1b[3Dx", "axcd"),
        (b"ab\x1b[9Dx", "xb"),
        (b"abcd\x1b[3Gx\x1b[Gy", "ybxd"),
        (b"one\ntwo\n\x1b[2Fup\x1b[Edown", "upe\ndown"),
        (b"one\ntwo\n\x1b[9Aa\x1b[1Bb\x1b[9Bc", "ane\ntbo\n  c"),
        (b"secret\x1b[3D\x1b[1Kx", "   xet"),
        ("π: 3".encode(), "π: 3"),
        (b"a\0b \xff", "ab \N{REPLACEMENT CHARACTER}"),
        ("no broker".encode("utf-16-le"), "no broker"),
        (b"", ""),
    ],
)
def test_the_tail_is_what_a_terminal_shows_in_the_end(printed: bytes, shown: str) -> None:
    """Overwritten states and colours are gone; also when the output came byte by byte."""
    assert tail(printed) == shown
    assert tail(*(bytes([byte]) for byte in printed)) == shown


def test_a_progress_bar_does_not_push_out_what_came_before_it() -> None:
    """However many states it has, only the last one takes room."""
    states = b"".join(b"\rloading %7d/1000000 [####      ]" % n for n in range(20_000))
    assert tail(b"broker: order rejected\n", states, b"\rdone").startswith(
        "broker: order rejected\n"
    )


@pytest.mark.parametrize("size", [_RAW_BYTES - 1, _RAW_BYTES, _RAW_BYTES + 1])
def test_nothing_is_dropped_before_it_must_be(size: int) -> None:
    """Below the limit all of it is there to be drawn over; beyond it, the newest half."""
    output = OutputTail()
    output.add(b"first\n" + b"\b" * (size - 6))
    assert (output.text() == "first") is (size <= _RAW_BYTES)
    assert len(output._raw) == (size if size <= _RAW_BYTES else _RAW_BYTES // 2)


def test_lines_that_were_overwritten_make_room_before_anything_is_dropped() -> None:
    """Also where a line is empty or ends in a carriage return, and only up to their last state."""
    bar = b"bar %5d\r" * 10_000 % tuple(range(10_000))
    output = OutputTail()
    output.add(b"kept\r\n" + b"x " * 15_000 + b"\n" + bar)
    assert output.text().startswith("[21.8 kB of output before this are not kept]\n[…] x")
    assert output.text().endswith("x \nbar  9999")
    assert bytes(output._raw).startswith(b"kept\r\nx x")
    assert not output._cut


def test_of_much_output_the_end_is_kept() -> None:
    """It begins with a whole line or word: half a secret could not be masked."""
    shown = tail(*(b"%06d request sent and answered\n" % n for n in range(20_000)))
    how_much, first, *_, last = shown.splitlines()
    assert how_much == "[652 kB of output before this are not kept]"
    assert last == "019999 request sent and answered"
    assert first.startswith("[…] 019")
    assert 0.9 * TAIL_CHARS < len(shown) <= TAIL_CHARS + 4 + len(how_much) + 1


@pytest.mark.parametrize("line", [b"x" * 79 + b"\n", b"x", b"y\r", b"\x1b[1mz\b", b"\r\n"])
def test_a_flood_costs_little(line: bytes) -> None:
    """A hundred megabytes a second must not hold up the loop."""
    chunk = line * (65536 // len(line))
    output = OutputTail()
    began = time.process_time()
    for _ in range(160):
        output.add(chunk)
    output.text()
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ("FATAL broker refused login\ncleaning up", "FATAL broker refused login"),
        ("broker: order rejected, margin too low\n[299%] retrying", "broker: order rejected, "
         "margin too low"),
        ("0 errors so far\nstopped at 3", "stopped at 3"),
        ('Traceback (most recent call last):\n  File "t.py", line 4, in <module>\n    f()\n'
         "RuntimeError: Insufficient margin\nneeds 500 USD", "RuntimeError: Insufficient margin"),
        ('Traceback (most recent call last):\n  File "t.py", line 4\nKeyError: 1\n\nDuring '
         'handling of the above exception, another exception occurred:\n\n'
         'Traceback (most recent call last):'
         '\n  File "t.py", line 6\nValueError: no price', "ValueError: no price"),
        ('Traceback (most recent call last):\n  File "t.py", line 4\nKeyError: 1\ntrying again\n'
         "ERROR no connection to the broker", "ERROR no connection to the broker"),
        ("  + Exception Group Traceback (most recent call last):\n  |   File \"t.py\", line 1\n"
         "  | ExceptionGroup: two orders failed (2 sub-exceptions)\n  +-+---------------- 1 -----"
         "\n    | ValueError: a\n    +------------", "ExceptionGroup: two orders failed "
         "(2 sub-exceptions)"),
        ('ERROR | failed\nTraceback (most recent call last):\n\n  File "x.py", line 9\n    f()\n'
         '> File "x.py", line 3, in f\n    g()\n\nZeroDivisionError: division by zero',
         "ZeroDivisionError: division by zero"),
        ("ERROR no broker\n/lib/x.py:3: DeprecationWarning: invalid escape\n  x = 1",
         "ERROR no broker"),
        ("terminate called after throwing an instance of 'std::runtime_error'\n"
         "  what():  no broker\nAborted (core dumped)", "what():  no broker"),
        ("Fatal Python error: Segmentation fault\n\nSegmentation fault",
         "Fatal Python error: Segmentation fault"),
        ("loading\nKilled", "Killed"),
        ("Error: connect ECONNREFUSED 127.0.0.1:7497\n    at TCPConnectWrap (net.js:1)\n"
         "    at emitTwo (events.js:2)", "Error: connect ECONNREFUSED 127.0.0.1:7497"),
        ("ls: cannot access 'x': No such file or directory\nbye", "ls: cannot access 'x': No such "
         "file or directory"),
        ("CRITICAL margin call\n" + "closing socket\n" * 30, "CRITICAL margin call"),
        ("lost 3 of 9\n" + "closing socket\n" * 30, "closing socket"),
        ("thread 'main' panicked at src/main.rs:10:5:\nno broker\nnote: run with `RUST_BACK`",
         "thread 'main' panicked at src/main.rs:10:5: no broker"),
        ("panic: no broker\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:8 +0x1d\n"
         "exit status 2", "panic: no broker"),
    ],
)  # fmt: skip
def test_the_headline_is_the_exception_or_the_last_telling_line(output: str, line: str) -> None:
    """What comes after it (tidying up, a progress bar) does not hide it."""
    assert headline(output) == line


def test_little_output_is_kept_whole_and_memory_is_bounded() -> None:
    """64 KB are looked through for overwritten lines; half stay if that frees nothing."""
    output = OutputTail()
    output.add(b"x" * (1 << 16))
    assert len(output._raw) == 1 << 16
    output.add(b"y")
    assert len(output._raw) == 1 << 15
    assert output._raw.endswith(b"xy")
    bars = OutputTail()
    bars.add(b"first\n" + b"\rstate" * 20_000)
    assert bytes(bars._raw) == b"first\nstate"
    assert bars.text() == "first\nstate"
