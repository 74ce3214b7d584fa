"""What docs/cluster holds: a Slurm script that starts what it says, and Kubernetes objects."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "docs" / "cluster"
TINY = ["--data", "signs", "--scale", "ci", "--n-train", "60", "--n-test", "30", "--batch", "20",
        "--models", "2", "--craft-steps", "2", "--unroll-steps", "1", "--epochs", "2", "--victims",
        "1", "--victim-epochs", "2",
        "--target-index", "0", "--device", "cpu", "--network", "mlp"]  # fmt: skip

SRUN = """#!/usr/bin/env bash
# A Slurm of two tasks on this host: the same command twice, and the worse of their ends.
while [[ "$1" == --* ]]; do shift; done
"$@" & first=$!
"$@" & second=$!
wait $first; one=$?
wait $second; two=$?
exit $((one > two ? one : two))
"""
SCONTROL = (
    "#!/usr/bin/env bash\n[ \"$*\" = 'show hostnames here[1-2]' ] && echo localhost && echo x\n"
)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.skipif(os.name != "posix" or not shutil.which("bash"), reason="needs bash")
def test_the_slurm_script_runs_one_attack_on_two_hosts_and_goes_on(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    python = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'
    (tools / "python").write_text(python)
    (tools / "python").chmod(0o755)
    env = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "FOLDER": str(tmp_path / "run"),
        "PORT": str(free_port()),
        "PER_NODE": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "here[1-2]",
        "OMP_NUM_THREADS": "1",
    }
    script = ["bash", str(CLUSTER / "mpkit.sbatch")]

    def start(*flags: str) -> subprocess.CompletedProcess:
        how = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True, "timeout": 120}
        return subprocess.run([*script, *flags], **how)

    done = start(*TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    victims = (tmp_path / "run" / "victims.jsonl").read_bytes()
    assert len(victims.splitlines()) == 3  # an arm each, by one process or the other
    again = start(*TINY)
    said = again.stdout + again.stderr
    assert again.returncode == 0, said
    assert (tmp_path / "run" / "victims.jsonl").read_bytes() == victims


def test_the_job_and_its_service_fit_each_other():
    objects = list(yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text("utf-8")))
    by_kind = {o["kind"]: o for o in objects}
    assert {k: o["apiVersion"] for k, o in by_kind.items()} == {
        "Service": "v1",
        "NetworkPolicy": "networking.k8s.io/v1",
        "Job": "batch/v1",
    }
    job, service = by_kind["Job"], by_kind["Service"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    flags = dict(a[2:].split("=", 1) for a in container["args"] if a.startswith("--"))
    name = job["metadata"]["name"]
    # A pod of an indexed Job is called by its number, in the domain of the Service without an IP.
    assert job["spec"]["completionMode"] == "Indexed"
    assert service["spec"]["clusterIP"] == "None"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert flags["master-addr"] == f"{name}-0.{pod['subdomain']}"
    assert flags["node-rank"] == "$(JOB_COMPLETION_INDEX)"
    assert service["spec"]["selector"] == {"job-name": name}
    policy = by_kind["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == {"job-name": name}
    assert policy["ingress"] == [{"from": [{"podSelector": policy["podSelector"]}]}]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(flags["nnodes"])
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(flags["nproc-per-node"])
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_the_job_starts_a_command_that_there_is():
    from mpkit.__main__ import build_parser

    (job,) = (
        o
        for o in yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text("utf-8"))
        if o["kind"] == "Job"
    )
    (container,) = job["spec"]["template"]["spec"]["containers"]
    args = container["args"]
    where = args.index("-m")
    assert args[where + 1] == "mpkit"
    assert build_parser().parse_args(args[where + 2 :]).scenario == "deck-dog-bird"
