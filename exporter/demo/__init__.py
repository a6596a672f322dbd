"""What `make stack` shows: stand-ins for chat, pager, mail and a dead-man service."""
