"""Log files of other programs, each line once."""
