"""Plans and devices: slices in order on threads, memory that runs out, and which plan is taken."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mpkit import device
from mpkit.device import Plan, for_models, pick_device, plan_for

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def outer(models: slice) -> tuple[int, int]:
    return models.start, models.stop


# ── plans ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", [{"chunk": 0}, {"workers": 0}, {"chunk": -3}, {"workers": -1}])
def test_a_plan_without_a_model_or_a_thread_is_refused(bad):
    with pytest.raises(ValueError, match="chunk >= 1 and workers >= 1"):
        Plan(**bad)


@pytest.mark.parametrize("plan", [Plan(), Plan(2), Plan(5), Plan(1, 2), Plan(2, 2)], ids=str)
def test_work_for_models_is_split_and_put_together_again(plan):
    x = torch.arange(10.0).view(5, 2)
    seen = []

    def work(models: slice, x, more):
        seen.append((models.start, x.shape))
        return {"sum": x.sum(-1) + more["shift"], "twice": 2 * x}

    found = for_models(plan, 5, work, x, {"shift": torch.arange(5.0)})
    assert torch.equal(found["sum"], x.sum(1) + torch.arange(5.0))
    assert torch.equal(found["twice"], 2 * x)
    for start, shape in seen:  # a chunk of one comes without a leading M
        assert shape == (
            (2,) if min(plan.chunk, 5 - start) == 1 else (min(plan.chunk, 5 - start), 2)
        )


def test_a_plan_of_half_a_model_is_refused():
    with pytest.raises(ValueError, match=r"chunk >= 1 and workers >= 1, not 1\.5"):
        Plan(1.5)


def test_a_plan_in_words():
    assert str(Plan()) == "one by one on 1 thread"
    assert str(Plan(4, 2)) == "stacked by 4 on 2 threads"


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("count", [0, 1, 2, 6, 7])
def test_slices_cover_all_models_once_and_in_order(chunk, workers, count):
    slices = Plan(chunk, workers).map(outer, count)
    assert [m for a, b in slices for m in range(a, b)] == list(range(count))
    assert all(b - a == chunk for a, b in slices[:-1])
    assert len(slices) == -(-count // chunk)


def test_threads_run_side_by_side_and_results_keep_their_order():
    second_is_done = threading.Event()

    def work(models: slice) -> int:
        if models.start == 0:
            assert second_is_done.wait(20), "the second slice never ran beside the first"
        else:
            second_is_done.set()
        return models.start

    assert Plan(1, 2).map(work, 2) == [0, 1]


def test_one_worker_is_the_thread_that_asks():
    found = Plan(2, 1).map(lambda _: threading.current_thread(), 6)
    assert set(found) == {threading.current_thread()}
    found = Plan(2, 2).map(lambda _: threading.current_thread(), 6)
    assert threading.current_thread() not in found


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_worker_computes_on_one_core_and_the_caller_gets_its_own_back():
    seen = Plan(1, 2).map(lambda _: torch.get_num_threads(), 4)
    assert seen == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2
    assert Plan(1, 1).map(lambda _: torch.get_num_threads(), 2) == [2, 2]


@pytest.mark.usefixtures("two_threads")
def test_the_caller_gets_its_threads_back_after_an_error(monkeypatch):
    class Leaky(ThreadPoolExecutor):
        """Some builds of torch have one number of threads for all: as if this were one."""

        def submit(self, *args):
            torch.set_num_threads(1)
            return super().submit(*args)

    monkeypatch.setattr(device, "ThreadPoolExecutor", Leaky)
    Plan(1, 2).map(outer, 4)
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        Plan(1, 2).map(lambda _: 1 / 0, 4)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("plan", [Plan(1, 1), Plan(2, 1), Plan(1, 2), Plan(2, 3)])
def test_errors_come_out_as_they_are(plan):
    tried = []

    def work(models: slice):
        tried.append(models.start)
        if models.start <= 2 < models.stop:
            raise RuntimeError("shapes do not fit")
        return models

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        plan.map(work, 6)
    assert len(tried) == len(set(tried)), "an error that has nothing to do with memory was retried"


def test_what_has_not_begun_when_an_error_occurs_never_does():
    begun, go = [], threading.Event()

    def work(models: slice) -> None:
        begun.append(models.start)
        if models.start == 0:
            raise KeyError("broken")
        go.wait(0.2)

    with pytest.raises(KeyError, match="broken"):
        Plan(1, 2).map(work, 40)
    assert len(begun) < 10


# ── memory that runs out ────────────────────────────────────────────────────────────────────────


FULL = {
    "typed": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    "cpu": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
    "mps": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("fits", [1, 2, 3, 5])
@pytest.mark.parametrize("chunk", [5, 8, 11])
def test_out_of_memory_halves_until_it_fits(chunk, fits, workers, error):
    done = []

    def work(models: slice) -> list[int]:
        if models.stop - models.start > fits:
            raise error()
        done.extend(range(models.start, models.stop))
        return list(range(models.start, models.stop))

    parts = Plan(chunk, workers).map(work, 11)
    assert [m for part in parts for m in part] == list(range(11))
    assert sorted(done) == list(range(11)), "finished models were computed again"
    assert max(map(len, parts)) > fits / 2, "chunks were cut smaller than they need be"


def test_what_did_not_fit_is_said_and_not_tried_again():
    plan, tried = Plan(8), []

    def work(models: slice) -> int:
        tried.append(models.stop - models.start)
        if tried[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return models.start

    with pytest.warns(UserWarning, match="memory ran out") as told:
        plan.map(work, 8)
    words = "memory ran out with {} models side by side: going on with {}"
    assert [str(w.message) for w in told] == [words.format(8, 4), words.format(4, 2)]
    tried.clear()
    plan.map(work, 8)
    assert tried == [2, 2, 2, 2]
    assert plan == Plan(8), "a plan that was written down is what was planned"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_single_model_that_does_not_fit_raises_torchs_error(workers):
    def work(models: slice):
        if models.start <= 3 < models.stop:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        Plan(4, workers).map(work, 8)


def test_the_failed_try_is_freed_before_the_next():
    class Large:
        pass

    held = []

    def work(models: slice) -> int:
        assert not any(ref() for ref in held), "the next try begins beside what did not fit"
        if models.stop - models.start == 1:
            return models.start
        large = Large()
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert Plan(4).map(work, 4) == [0, 1, 2, 3]
    assert len(held) == 3


# ── how many models at a time ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("there", "count", "workers"), [(2, 8, 2), (16, 24, 16), (16, 3, 3), (1, 9, 1)]
)
def test_on_a_cpu_models_go_one_by_one_over_the_cores(monkeypatch, there, count, workers):
    monkeypatch.setattr(device, "cores", lambda: there)
    assert plan_for(count, CPU) == Plan(1, workers)


@pytest.mark.parametrize("count", [1, 24])
def test_on_a_gpu_all_models_are_stacked(count):
    assert plan_for(count, GPU) == Plan(count)


def test_cores_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: {3, 7, 9}, raising=False)
    assert device.cores() == 3
    monkeypatch.delattr(device.os, "sched_getaffinity")
    monkeypatch.setattr(device.os, "cpu_count", lambda: 6)
    assert device.cores() == 6
    monkeypatch.setattr(device.os, "cpu_count", lambda: None)
    assert device.cores() == 1


@pytest.mark.parametrize(("most", "found"), [("", 8), ("2", 2), (" 3 ", 3), ("20", 8)])
def test_threads_can_be_capped(most, found, monkeypatch):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("MPKIT_THREADS", most)
    assert device.cores() == found
    assert plan_for(24, CPU) == Plan(1, found)


@pytest.mark.parametrize("most", ["0", "-1", "many", "2.5", "²"])
def test_a_cap_that_is_no_number_is_refused(most, monkeypatch):
    monkeypatch.setenv("MPKIT_THREADS", most)
    with pytest.raises(ValueError, match=f"MPKIT_THREADS must be a whole .*{most}.*; unset it"):
        device.cores()


# ── devices ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def machine(monkeypatch):
    def has(cuda: int = 0, mps: bool = False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


def test_auto_takes_a_gpu_where_there_is_one(machine):
    machine()
    assert pick_device() == pick_device("auto") == pick_device("cpu") == CPU
    machine(cuda=2)
    assert pick_device() == GPU
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    assert pick_device("cpu") == CPU
    machine(mps=True)
    assert pick_device("mps") == torch.device("mps")


def test_a_mac_uses_its_processor_unless_asked(machine):
    machine(mps=True)
    assert pick_device() == CPU
    with pytest.raises(ValueError, match=r"auto, cpu, mps$"):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "xpu", "meta", "gpu", "", "cpu cpu"])
def test_a_device_that_is_not_here_is_refused_with_what_is(machine, name):
    machine()
    with pytest.raises(ValueError, match=r"not here; this machine has: auto, cpu$") as error:
        pick_device(name)
    assert repr(name) in str(error.value)


def test_a_gpu_too_many_is_refused(machine):
    machine(cuda=1)
    with pytest.raises(ValueError, match=r"'cuda:1': this machine has 1 GPU"):
        pick_device("cuda:1")
    with pytest.raises(ValueError, match=r"auto, cpu, cuda$"):
        pick_device("mps")


def test_the_device_in_words(monkeypatch):
    assert str(device.cores()) in device.describe(CPU)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A GPU")
    assert device.describe(GPU) == "A GPU"


def test_reproducible_gpus(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    try:
        cudnn.benchmark = True
        device.make_reproducible(CPU)
        assert cudnn.benchmark
        assert not torch.are_deterministic_algorithms_enabled()
        device.make_reproducible(GPU)
        assert cudnn.deterministic
        assert not cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled()
        assert device.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8", "the user's own word"
    finally:
        cudnn.deterministic, cudnn.benchmark = before[:2]
        torch.use_deterministic_algorithms(before[2])


def test_out_of_memory_halves_the_chunk_and_goes_on():
    def work(models):
        if models.stop - models.start > 2:
            raise torch.OutOfMemoryError("no")
        return list(range(models.start, models.stop))

    for plan in (Plan(7), Plan(5, 2)):
        assert [i for part in plan.map(work, 9) for i in part] == list(range(9))

    def hopeless(models):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="allocate"):
        Plan(4).map(hopeless, 4)


def test_other_errors_in_threads_are_not_swallowed_and_threads_are_restored():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        Plan(1, 2).map(lambda models: 1 / 0, 4)
    assert torch.get_num_threads() == before


def test_devices_that_are_not_here_are_refused():
    with pytest.raises(ValueError, match="this machine has: auto, cpu"):
        pick_device("abacus")


@pytest.mark.parametrize(
    "begun",
    [
        "import mpkit.lab; print('torch._dynamo' in sys.modules)",
        "from mpkit.device import Plan\n"
        "print(all(Plan(1, 2).map(lambda m: 'torch._dynamo' in sys.modules, 2)))",
    ],
    ids=["labs", "threads of a plan"],
)
def test_what_the_first_gradient_imports_is_there_before_threads_begin(begun):
    # Of two that import it at once, one was seen to find half of it.
    code = f"import sys, torch\nassert 'torch._dynamo' not in sys.modules\n{begun}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.stdout == "True\n", ran.stderr
