"""Nothing is set here: the product reads these settings from the environment."""
