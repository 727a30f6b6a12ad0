"""Development tools. The image does not contain them."""
