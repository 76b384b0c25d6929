"""The single-user server: jupyter_server with the hub's logins, addresses and links.

``choice`` decides between the two ways of combining them: ``extension`` (jupyter_server 2 and later) and
``app_mode`` (an application subclass, for older servers and for those who ask for it). ``lean_start`` keeps what
nobody needs from being imported.
"""
