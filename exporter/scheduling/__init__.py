"""When a task runs, and what was missed."""
