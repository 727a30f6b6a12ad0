"""Where keys come from: fetching key sets, holding them, and when to fetch again.

Nothing here knows what a token is, or of Masonite.
"""
