"""The settings: read once, checked as a whole, and told all at once where they cannot be meant."""
