"""The process itself: how its parts are built, systemd, the event loop, a reload."""
