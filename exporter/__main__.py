"""The command line. ``exec`` runs before everything else is imported: each command waits for it."""

import sys


def main() -> int:
    """The command ``quant-exporter``, or ``python -m exporter``."""
    if sys.argv[1:2] == ["exec"]:
        from exporter.cli import exec_wrapper

        return exec_wrapper.main(sys.argv[2:])
    import signal

    # Ctrl-C while the rest is imported ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from exporter.cli import main as command_line

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return command_line.main()


if __name__ == "__main__":
    sys.exit(main())
