"""A hub for thirty students on one host, each with an account there: jupyterhub -f this file.

Needs jupyterhub and jupyterhub-systemdspawner (Linux with systemd; the hub runs as root, as it
starts servers for others) and jupyterhub-idle-culler. docs/many-students.md says why. Jupyter
defines `get_config` where it reads this.
"""

import sys

c = get_config()  # noqa: F821

# This machine alone. Students come through a web server with https in front of it, or through ssh.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.PAMAuthenticator.allowed_groups = {"students"}  # of the host's accounts
c.PAMAuthenticator.admin_groups = {"sudo"}

c.JupyterHub.spawner_class = "systemd"
c.SystemdSpawner.user_workingdir = "/home/{USERNAME}"
c.SystemdSpawner.disable_user_sudo = True
c.SystemdSpawner.isolate_tmp = True
c.Spawner.mem_limit = "2G"  # who takes more loses a kernel, and nobody else does
c.Spawner.mem_guarantee = "500M"
c.Spawner.cpu_limit = 2.0
c.Spawner.default_url = "/lab/tree/notebooks/00-start-here.ipynb"
c.Spawner.cmd = ["/opt/mpkit/.venv/bin/jupyterhub-singleuser"]
c.Spawner.environment = {
    "MPKIT_SCALE": "laptop",
    "MPKIT_THREADS": "2",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}

# Thirty at once would all wait for the disk and the cores.
c.JupyterHub.concurrent_spawn_limit = 5
c.JupyterHub.active_server_limit = 40

# Whole servers, an hour after their last kernel (those end sooner: jupyter_server_config.py).
c.JupyterHub.load_roles = [
    {
        "name": "culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["culler"],
    }
]
c.JupyterHub.services = [
    {
        "name": "culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=3600"],
    }
]
