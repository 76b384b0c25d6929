"""What the spawners that ship with the hub are made of; their contract is ``jupyterhub.spawner``."""
