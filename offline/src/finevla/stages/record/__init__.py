"""Demonstrations of the scripted expert as bags, faster than real time."""
