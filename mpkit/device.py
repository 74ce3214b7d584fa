"""Where and how the arithmetic runs: the only file that knows devices, threads and chunk sizes.

Many small models are trained side by side here (surrogates, victims): one after the other, stacked
by ``vmap`` into one larger operation, or spread over the cores by threads. `plan_for` says how.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils._pytree import tree_map

Result = TypeVar("Result")
GPU_MEMORY = "MPKIT_GPU_MEMORY"
"""The variable that caps what a process takes of a GPU, see `gpu_share`."""
TF32 = "MPKIT_TF32"
"""The variable that lets a GPU take products and convolutions in TF32, see `tf32`."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How M models are computed: in chunks of at most `chunk` stacked models, on `workers` threads.

    Chunks of one model run without ``vmap``. `workers` chunks run at the same time, each on one
    core; with one worker each operation may use all of torch's threads. Where there are fewer
    chunks than workers, what falls into parts may use those that are `spare`.
    """

    chunk: int = 1
    workers: int = 1

    def __post_init__(self):
        for name in ("chunk", "workers"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"a plan needs whole numbers, chunk >= 1 and workers >= 1, not {value!r}"
                )
        object.__setattr__(self, "_fits", [self.chunk])  # smaller, once memory has run out

    def __str__(self) -> str:
        how = "one by one" if self.chunk == 1 else f"stacked by {self.chunk}"
        return f"{how} on {self.workers} thread{'s' * (self.workers > 1)}"

    def spare(self, count: int) -> int:
        """How many threads a chunk of `count` models has for parts of its own; 1: it has none."""
        return max(1, self.workers // -(-count // self.chunk)) if count else 1

    def map(self, work: Callable[[slice], Result], count: int) -> list[Result]:
        """``work(slice)`` for consecutive slices of ``range(count)``, results in order.

        Out of memory halves the chunk, says so and goes on with what is not yet done, now and when
        it is asked again; only a single model that does not fit raises torch's error.
        """
        chunk = self._fits[0]
        slices = [slice(i, min(i + chunk, count)) for i in range(0, count, chunk)]
        if self.workers == 1 or len(slices) == 1:
            return [r for s in slices for r in self._halving(work, s)]
        ready_for_threads()
        with _one_thread_each(), ThreadPoolExecutor(self.workers, initializer=_one_thread) as pool:
            jobs = [pool.submit(self._halving, work, s) for s in slices]
            try:
                return [r for job in jobs for r in job.result()]
            except BaseException:
                pool.shutdown(cancel_futures=True)  # what has not begun need not run any more
                raise

    def _halving(self, work: Callable[[slice], Result], models: slice) -> list[Result]:
        try:
            return [work(models)]
        except RuntimeError as error:
            count = models.stop - models.start
            if count == 1 or not out_of_memory(error):
                raise
        # Outside `except`, so that the failed try is freed.
        half = -(-count // 2)
        if half < self._fits[0]:
            self._fits[0] = half
            warnings.warn(
                f"memory ran out with {count} models side by side: going on with {half}",
                stacklevel=2,
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # blocks of the size that did not fit
        middle = models.start + half
        first, second = slice(models.start, middle), slice(middle, models.stop)
        return self._halving(work, first) + self._halving(work, second)


def for_models(plan: Plan, count: int, work: Callable, *given):
    """``work(models, *given)`` for all of `count` models: tensors with a leading M in and out.

    `given` and what `work` gives are trees of tensors, split and put together along M. A chunk of
    one model gets and gives them without it; a larger one (`plan.chunk`) with it, for `vmap`.
    """

    def part(models: slice):
        if models.stop - models.start > 1:
            return work(models, *tree_map(lambda t: t[models], given))
        found = work(models, *tree_map(lambda t: t[models.start], given))
        return tree_map(lambda t: t[None], found)

    return tree_map(lambda *t: torch.cat(t), *plan.map(part, count))


def in_turn(jobs: Iterable[Callable[[], Result]], workers: int) -> Iterator[Result]:
    """What each of the jobs gives, in their order, computed by so many threads at once.

    `jobs` may itself take time, and be an endless generator: it is asked for the next one by the
    caller's thread while others compute, and is never further ahead than one job a thread and one
    more. With one worker it is asked when the job before is done and has been taken.
    """
    if workers == 1:
        yield from (job() for job in jobs)
        return
    ready_for_threads()
    with _one_thread_each(), ThreadPoolExecutor(workers, initializer=_one_thread) as pool:
        _one_thread()  # what `jobs` computes has the bits that it has on any thread
        waiting: deque = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what has not begun need not run any more
            raise


_importing = threading.Lock()


def ready_for_threads() -> None:
    """Import what torch.func's first gradient imports, by one thread alone. Where several begin
    with it at once, one can find half of it: "partially initialized module 'torch._dynamo'"."""
    with _importing:
        import torch._dynamo  # noqa: F401 (a second)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that memory ran out; only CUDA has a type of its own for it."""
    told = ("can't allocate memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(t in str(error) for t in told)


def _one_thread() -> None:
    torch.set_num_threads(1)  # OpenMP keeps this number per thread


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Restore this thread's number of torch threads when the pool is gone."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cores() -> int:
    """The processor cores this process may use, and not more than MPKIT_THREADS. Raises ValueError
    where that is no such number."""
    several = hasattr(os, "sched_getaffinity")
    there = len(os.sched_getaffinity(0)) if several else os.cpu_count() or 1
    most = os.environ.get("MPKIT_THREADS", "").strip()
    if most and not (most.isascii() and most.isdigit() and int(most)):
        raise ValueError(
            f"MPKIT_THREADS must be a whole number of threads, 1 or more, not {most!r}; unset it "
            "for as many as there are cores"
        )
    return min(there, int(most)) if most else there


def pick_device(name: str = "auto") -> torch.device:
    """`name` ("auto", "cpu", "cuda", "mps", …) as a device that is there.

    Raises ValueError naming what this machine has.
    """
    there = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    there += ["mps"] * torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if "cuda" in there else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in there:
        raise ValueError(f"device {name!r} is not here; this machine has: auto, {', '.join(there)}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r}: this machine has {torch.cuda.device_count()} GPU(s)")
    return device


def make_reproducible(device: torch.device) -> None:
    """Ask for the same bits every time: of a GPU at some cost in speed, of a CPU at none. What a
    process may take of a GPU is capped here, too, and how it rounds is set (`gpu_share` and `tf32`,
    which may raise ValueError).

    On a CPU torch is set to one thread per operation, whatever the number of cores: sums are then
    taken in the same order everywhere. Cores are used by a `Plan`, which spreads models over them.
    It matters for speed as well: two processes whose operations each want all cores wait for one
    another at every one of them (two notebooks at once took 18 times as long as one).
    """
    if device.type == "cpu":
        torch.set_num_threads(1)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        torch.use_deterministic_algorithms(True, warn_only=True)
        # torch allows it for convolutions alone; here one word says it of both.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32()
        if share := gpu_share(device):
            torch.cuda.set_per_process_memory_fraction(share, device.index)


def gpu_share(device: torch.device) -> float | None:
    """The share of a GPU's memory that this process may take, where several have one card: by
    MPKIT_GPU_MEMORY, in GiB ("6") or as a share ("25%"); None where that is not set.

    Raises ValueError for what is neither, or more than there is.
    """
    text = os.environ.get(GPU_MEMORY, "").strip()
    if not text:
        return None
    there = torch.cuda.get_device_properties(device).total_memory / 2**30
    unit = 0.01 if text.endswith("%") else 1 / there
    try:
        share = unit * float(text.removesuffix("%").removesuffix("GiB"))
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:  # nor NaN
        raise ValueError(
            f"{GPU_MEMORY} {text!r} must be GiB, such as 6, or a share, such as 25%: more than 0, "
            f"and at most the {there:.1f} GiB of this GPU"
        )
    return share


def tf32() -> bool:
    """Whether a GPU may take float32's products and convolutions in TF32, by MPKIT_TF32, 1 or 0
    (not set: 0). That is faster and keeps 10 of float32's 23 bits: other poisons come of it, so run
    folders say it. Raises ValueError for anything else.
    """
    text = os.environ.get(TF32, "").strip()
    if text not in ("", "0", "1"):
        raise ValueError(f"{TF32} {text!r} must be 1 (TF32 on a GPU) or 0 (float32 throughout)")
    return text == "1"


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was told, as a clock must."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def describe(device: torch.device) -> str:
    """The device in words, for people and for run folders."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {cores()} cores"


def plan_for(count: int, device: torch.device, parts: int = 1) -> Plan:
    """How `count` models are best computed, by the machine's kind alone: the order of sums, and so
    the bits, must not depend on a measurement. `parts`: into how many each model's work falls that
    need not wait for one another.

    On a CPU one model after the other, spread over the cores: stacked convolutions become grouped
    ones, which are slower, and small networks gain nothing once they are traced
    (tests/benchmarks/meta_gradients.py). What a model gets does not depend on the number of cores.
    On a GPU all stacked, as small models fill it only together.
    """
    return Plan(1, min(cores(), count * parts)) if device.type == "cpu" else Plan(count)
