"""Development tools. The production image does not contain them."""
