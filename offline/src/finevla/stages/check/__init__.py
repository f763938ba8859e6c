"""Checks of what the simulator makes: is every text true of its episode?"""
