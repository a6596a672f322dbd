"""Attempts in processes of their own: a small forkserver, guardians, children, and the loop's side.

``forkserver``, ``guardian`` and ``child`` run outside the exporter and import light modules only;
``forkserver_client`` and ``supervisor`` are the exporter's side.
"""
