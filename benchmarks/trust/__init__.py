"""Findings on privacy, adversaries and compression: python -m benchmarks trust."""
