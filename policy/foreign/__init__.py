"""A user's own policy: a Python class or a process, in its own frame, rate and units.

Nothing is imported here: `host` runs in the policy's own process and stays light.
"""
