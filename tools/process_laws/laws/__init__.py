"""Owns what must hold of the server as a process: one module for each kind of law."""
