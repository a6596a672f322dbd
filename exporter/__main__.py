"""``python -m exporter``: the command line."""

import sys

from exporter.cli.command_table import main

sys.exit(main())
