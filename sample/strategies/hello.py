from pathlib import Path


def count_files():
    return len(list(Path.cwd().iterdir()))
