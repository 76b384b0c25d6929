"""The proxies that ship with the hub; their contract is ``jupyterhub.proxy``."""
