"""The development issuer: signs tokens and publishes its keys as a Zuplo gateway does, on loopback alone.

``craft serve`` starts it in development. Nothing else does, and nothing else reads what it stores.
"""
