"""Local servers: a small broker with the rights that it takes, and warm processes that servers are forked from.

``client`` is what the hub calls. ``broker`` is a process of its own that outlives hubs: it becomes users, starts
processes, keeps their exit statuses and asks PAM. ``zygote`` is a process that has imported what a single-user server
needs, and forks servers. Both open as small as they can, and trust whoever is on the other side of their socket only
as far as ``docs/local-servers.md`` says.
"""
