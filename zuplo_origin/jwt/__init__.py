"""What makes a token acceptable: its form, its signature, its claims, and the reason where it is not.

Nothing here knows of HTTP or of Masonite. Keys come in through ``KeySource``.
"""
