"""The process itself: systemd, the event loop, a reload."""
