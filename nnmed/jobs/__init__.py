"""Whole jobs: options in, a run folder out."""
