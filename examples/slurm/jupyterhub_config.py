"""Each server is a job of Slurm: pip install batchspawner, here and where the jobs run. The hub runs as root."""

import batchspawner  # noqa: F401  (adds the address at which jobs tell their port)

c = get_config()  # noqa: F821

c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.SlurmSpawner.req_partition = "interactive"
c.SlurmSpawner.req_runtime = "8:00:00"
c.SlurmSpawner.req_memory = "4gb"
c.SlurmSpawner.req_nprocs = "2"
c.SlurmSpawner.batchspawner_singleuser_cmd = "/opt/jupyterhub/bin/batchspawner-singleuser"
c.Spawner.cmd = ["/opt/jupyterhub/bin/jupyterhub-singleuser"]
# A queue may be long.
c.Spawner.start_timeout = 600
# Jobs reach the hub by the name of this machine in the cluster's network.
c.JupyterHub.hub_ip = ""
c.JupyterHub.hub_connect_ip = "hub.cluster.example.org"
