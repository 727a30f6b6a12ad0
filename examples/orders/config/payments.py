"""The payment service, whose webhooks change the status of orders."""

from masonite.environment import env

# The secret with which it signs its webhooks. Without it, every webhook is rejected.
SECRET = env("PAYMENTS_SECRET", "", cast=False)
