"""Attempts in processes of their own: a small forkserver, its children, and the loop's side.

The forkserver (``zygote``) and its children (``child``) import nothing but light modules of ours;
``pool`` and ``attempt`` are the side of the daemon.
"""
