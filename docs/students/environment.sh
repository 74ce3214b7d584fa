# For a class on one host: set for every student, as in /etc/profile.d/mpkit.sh (docs/many-students.md).
# A JupyterHub sets the same in jupyterhub_config.py.

export MPKIT_SCALE=laptop           # the sizes of the course, also where there is a GPU
export MPKIT_THREADS=2              # cores that one kernel may take
export OMP_NUM_THREADS=1            # numpy's and scikit-learn's threads: they would take all cores
export CUDA_VISIBLE_DEVICES=        # no GPU: each kernel on it takes some hundred MB of its memory
