"""Each server is a container: pip install dockerspawner. Hub and proxy run on the machine itself."""

c = get_config()  # noqa: F821

c.JupyterHub.authenticator_class = "dummy"  # for trying it out
c.JupyterHub.spawner_class = "docker"
c.DockerSpawner.image = "quay.io/jupyterhub/singleuser:5"
# What a container that is removed with its server keeps is in a volume of its user.
c.DockerSpawner.remove = True
c.DockerSpawner.volumes = {"jupyterhub-user-{username}": "/home/jovyan"}
c.DockerSpawner.mem_limit = "2G"
# Containers find the hub at the bridge of the engine, the proxy finds it at home.
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = "http://127.0.0.1:8081"
c.DockerSpawner.hub_connect_url = "http://172.17.0.1:8081"
c.DockerSpawner.use_internal_ip = True
