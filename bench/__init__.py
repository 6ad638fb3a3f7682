"""Benchmarks: two things compared in one run."""
