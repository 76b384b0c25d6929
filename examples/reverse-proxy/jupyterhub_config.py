"""Behind another web server that has the certificate (nginx.conf beside this file) and gives the hub a path."""

c = get_config()  # noqa: F821

# Where the other server finds us, and where browsers do.
c.JupyterHub.bind_url = "http://127.0.0.1:8000/jupyter/"
c.JupyterHub.public_url = "https://www.example.org/jupyter/"
# Its address is not the visitor's.
c.JupyterHub.trusted_downstream_ips = ["127.0.0.1"]
c.JupyterHub.authenticator_class = "dummy"  # for trying it out
