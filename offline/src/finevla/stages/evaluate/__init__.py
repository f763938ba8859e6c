"""Measuring obedience: pairs of instructions in one scene that differ in one factor."""
