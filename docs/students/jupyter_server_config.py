"""For the Jupyter servers of a class, one a student: put it into /etc/jupyter/ on the host.

docs/many-students.md says why. Jupyter defines `get_config` where it reads this.
"""

c = get_config()  # noqa: F821

# Nobody but this machine, and only with the token that Jupyter draws (a hub asks by itself).
c.ServerApp.ip = "127.0.0.1"

# What kernels tell goes through files that only their user may open, and not through ports.
c.KernelManager.transport = "ipc"

# A kernel that nobody has used for half an hour ends, also where its page is still open. A lab that
# runs is in use: its pictures count. What a student solved, and what was saved, is on disk.
c.MappingKernelManager.cull_idle_timeout = 30 * 60
c.MappingKernelManager.cull_interval = 2 * 60
c.MappingKernelManager.cull_connected = True
