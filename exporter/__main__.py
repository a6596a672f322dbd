"""The command line. ``exec`` runs before everything else is imported: each command waits for it."""

import os
import sys


def main() -> int:
    """The command ``quant-exporter``, or ``python -m exporter``."""
    _open_what_is_closed()
    if sys.argv[1:2] == ["exec"]:
        from exporter.cli import exec_wrapper

        return exec_wrapper.main(sys.argv[2:])
    import signal

    # Ctrl-C while the rest is imported ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from exporter.cli import main as command_line

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return command_line.main()


def _open_what_is_closed() -> None:
    """Whoever starts it with ``>&-``: the next file that is opened would be its stdout, and what is
    printed go into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r"))  # noqa: SIM115, PTH123


if __name__ == "__main__":
    sys.exit(main())
