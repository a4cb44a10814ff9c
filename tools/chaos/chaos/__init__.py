"""Owns the parts of tools/chaos/run: a network and disks that can be made bad, clients that write
down what they were told, and the faults."""
