"""Each server is a pod: pip install jupyterhub-kubespawner. The hub runs in a pod with a service called ``hub``.

It needs rights to list, watch, create and delete pods, persistentvolumeclaims and events in its namespace.
"""

c = get_config()  # noqa: F821

c.JupyterHub.authenticator_class = "dummy"  # for trying it out
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.image = "quay.io/jupyterhub/singleuser:5"
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.storage_capacity = "10Gi"
c.KubeSpawner.pvc_name_template = "claim-{user_server}"
c.KubeSpawner.volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "claim-{user_server}"}}]
c.KubeSpawner.volume_mounts = [{"name": "home", "mountPath": "/home/jovyan"}]
c.KubeSpawner.mem_guarantee = "512M"
c.KubeSpawner.mem_limit = "2G"
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
# Pods live on while the hub is replaced; several hubs may share one PostgreSQL.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.db_url = "postgresql://jupyterhub@postgres/jupyterhub"
