"""The public proxy: a program of its own that survives hub restarts.

It takes configurable-http-proxy's command line, environment and REST API, so that any JupyterHub can drive it. The
rules of HTTP and of routing are in ``protocol`` (no I/O); the modules beside it own sockets, time and TLS. It imports
nothing of the hub but ``words``: it must start fast, stay small and outlive whatever happens to the hub.
"""
