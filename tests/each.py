"""A rule for hundreds of things is one test: hundreds of tests take longer to find than to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Rule = Callable[..., None]


def each(things: Iterable[tuple[str, object]]) -> Callable[[Rule], Rule]:
    """Calls the decorated test with each of the named things. It fails with the names of all that
    break the rule, and with the error of each."""
    named = list(things)
    assert named

    def decorate(rule: Rule) -> Rule:
        def test() -> None:
            errors = []
            for name, thing in named:
                try:
                    rule(thing)
                except Exception as error:  # noqa: BLE001  # it is raised below, with the others
                    error.add_note(f"this was {name}")
                    errors.append((name, error))
            if errors:
                names = ", ".join(name for name, _ in errors)
                raise ExceptionGroup(
                    f"{len(errors)} of {len(named)}: {names}", [error for _, error in errors]
                )

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        test.__module__, test.__qualname__ = rule.__module__, rule.__qualname__
        return test

    return decorate
