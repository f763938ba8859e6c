"""Lifecycle manager, recorder and dashboard."""
