"""Tokens: parse them, verify them against ordered rules, and name the reason for a rejection.

This package imports neither an HTTP module nor Masonite. Keys come from a ``KeySource``.
"""
