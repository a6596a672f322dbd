"""What a return value or an exception means, at the edges of what is allowed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from exporter.tasks.errors import NoData, Permanent, StaleData
from exporter.tasks.outcome import Outcome, from_json, of_exception, of_return


class Sized:
    """A collection of that many things."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Any:
        raise AssertionError("only its size counts")

    def __contains__(self, _: object) -> bool:
        return False


class Broken(Sized):
    """Its size cannot be known."""

    def __len__(self) -> int:
        raise OSError("gone")


class UnspeakableError(Exception):
    """Not even its text can be shown."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "items"),
    [(0, 0.0), (3, 3.0), (10**15, 1e15), ([1, 2], 2.0), ({}, 0.0), (Sized(7), 7.0)],
)
def test_counts_and_collections_say_how_many(value: object, items: float) -> None:
    """Up to a thousand billions, which a float still holds exactly."""
    assert of_return(value) == Outcome("success", items=items)


@pytest.mark.parametrize("value", [None, True])
def test_nothing_and_true_are_a_success_without_a_number(value: object) -> None:
    """Zero items would be another statement."""
    outcome = of_return(value)
    assert (outcome.kind, math.isnan(outcome.items), outcome.error) == ("success", True, None)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, "returned -1"),
        (10**15 + 1, "returned 1000000000000001"),
        (1.5, "returned 1.5"),
        ("ok", "returned 'ok'"),
        ("x" * 78, f"returned '{'x' * 78}'"),
        ("x" * 79, "returned a long str"),
        (b"ok", "returned bytes"),
        (object(), "returned object"),
    ],
)
def test_what_is_no_number_of_items_is_an_error_that_stays(value: object, error: str) -> None:
    """The next try would return it again. A long text is not shown: half a secret is not known."""
    outcome = of_return(value)
    advice = "; return the number of items it handled, a list of them, or nothing"
    assert (outcome.kind, outcome.error, outcome.retryable) == ("error", error + advice, False)


def test_a_size_that_cannot_be_known_and_false_are_errors() -> None:
    """False may be True the next time."""
    assert of_return(Broken(1)).error == "returned a Broken that has no size: OSError: gone"
    refused = of_return(False)
    assert (refused.kind, refused.error, refused.retryable) == ("error", "returned False", True)


@pytest.mark.parametrize(
    ("error", "kind", "text", "retryable"),
    [
        (NoData("no bars yet"), "no_data", "no bars yet", True),
        (NoData(), "no_data", "NoData", True),
        (StaleData("from Friday"), "stale_data", "from Friday", True),
        (OSError(" no \n broker "), "error", "OSError: no broker", True),
        (ValueError(), "error", "ValueError", True),
        (TypeError("x"), "error", "TypeError: x", False),
        (ImportError("x"), "error", "ImportError: x", False),
        (AssertionError(), "error", "AssertionError", False),
        (Permanent("x"), "error", "Permanent: x", False),
        (KeyboardInterrupt(), "error", "KeyboardInterrupt", False),
        (UnspeakableError(), "error", "UnspeakableError: (its text cannot be shown)", True),
        (SystemExit(), "success", None, False),
        (SystemExit(0), "success", None, False),
        (SystemExit(3), "error", "called sys.exit(3)", True),
        (SystemExit("no\naccount"), "error", "called sys.exit: no account", True),
    ],
)
def test_an_exception_says_what_went_wrong_and_whether_it_may_pass(
    error: BaseException, kind: str, text: str | None, retryable: bool
) -> None:
    """A mistake in the program does not pass by itself."""
    outcome = of_exception(error)
    assert (outcome.kind, outcome.error, outcome.retryable) == (kind, text, retryable)
    code = error.code if isinstance(error, SystemExit) else None
    assert outcome.exit_code == (code if code and isinstance(code, int) else None)


@pytest.mark.parametrize(
    ("retryable", "after", "expected"),
    [
        (False, 2, (False, 2.0)),
        (True, 2.5, (True, 2.5)),
        ("yes", "soon", (True, None)),
        (None, None, (True, None)),
    ],
)
def test_an_exception_may_say_itself_whether_and_when_to_try_again(
    retryable: object, after: object, expected: tuple[bool, float | None]
) -> None:
    """What makes no sense is not heard."""
    error = ValueError("x")
    error.retryable, error.retry_after = retryable, after  # type: ignore[attr-defined]
    outcome = of_exception(error)
    assert (outcome.retryable, outcome.retry_after_seconds) == expected


def test_of_a_long_traceback_the_end_is_kept() -> None:
    """The newest twenty frames, of them the newest 4,000 characters, from a whole word on."""

    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        raise ValueError("words " * 2000 + "the end")

    try:
        deeper(50)
    except ValueError as error:
        tail = of_exception(error).tail
    assert tail.endswith("the end")
    assert tail.startswith("[…] words")
    assert 3990 < len(tail) <= 4004
    try:
        deeper_short(50)
    except ValueError as error:
        tail = of_exception(error).tail
    assert tail.startswith("Traceback (most recent call last):")
    assert tail.count("in deeper_short") == 20


def deeper_short(left: int) -> None:
    """Fails at that depth; from two lines in turn, so that Python shows each of its frames."""
    if left % 2:
        deeper_short(left - 1)
    if left:
        deeper_short(left - 1)
    raise ValueError("x")


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("success", items=3.0),
        Outcome("success"),
        Outcome("error", "x", retryable=True, retry_after_seconds=1.5, tail="t", exit_code=3),
    ],
)
def test_what_a_process_sends_is_what_the_exporter_reads(outcome: Outcome) -> None:
    """A count that is not known travels as null."""
    sent = outcome.to_json()
    assert (sent["items"] is None) == math.isnan(outcome.items)
    assert str(from_json(sent)) == str(outcome)


@pytest.mark.parametrize(
    "change",
    [{"kind": "great"}, {"items": "many"}, {"exit_code": []}, {"retry_after_seconds": "x"}],
)
def test_nonsense_from_a_process_is_no_outcome(change: dict[str, object]) -> None:
    """Nor is what lacks a field."""
    sent = Outcome("success").to_json()
    with pytest.raises(ValueError, match="not an outcome"):
        from_json({**sent, **change})
    del sent["tail"]
    with pytest.raises(ValueError, match="not an outcome"):
        from_json(sent)


@pytest.mark.parametrize(
    ("before", "printed", "after"), [("", "a", "a"), ("b", "a", "a\nb"), ("b", "", "b")]
)
def test_what_was_printed_comes_before_the_traceback(before: str, printed: str, after: str) -> None:
    """Without an empty line where one of them is missing."""
    assert Outcome("error", tail=before).with_tail(printed).tail == after
