"""CIFAR-10 from a server of the test's own."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections import Counter

import numpy as np
import pytest

from mpkit.data import DataError, cifar10, fetch_cifar10, load_dataset
from tests.data.conftest import check_invariants, pack, same

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat")


def cifar_files(seed=0) -> dict[str, bytes]:
    """Six small batches in the official layout; the first red byte of a record is its label."""
    generator = np.random.default_rng(seed)
    files = {
        "batches.meta.txt": "\n".join((*CIFAR_CLASSES, "", "")).encode(),
        "readme.html": b"<p>",
    }
    for name in (*cifar10.BATCHES["train"], *cifar10.BATCHES["test"]):
        rows = generator.integers(0, 256, (8, 3073), np.uint8)
        rows[:, 0] = rows[:, 1] = generator.permutation(8) % 4
        files[name] = rows.tobytes()
    return {f"cifar-10-batches-bin/{name}": blob for name, blob in files.items()}


@pytest.fixture
def server(monkeypatch):
    """Serves `server.files`; `server.offer(blob)` makes it the official archive."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.requests.append(self.path)
            blob, claimed = served.files.get(self.path, (None, 0))
            self.send_response(404 if blob is None else 200)
            self.send_header("Content-Length", str(claimed))
            self.end_headers()
            self.wfile.write(blob or b"")

        def log_message(self, *_):
            pass

    def offer(blob, sha256=None, claimed=None):
        served.files["/cifar.tar.gz"] = (blob, len(blob) if claimed is None else claimed)
        monkeypatch.setattr(cifar10, "SHA256", sha256 or hashlib.sha256(blob).hexdigest())

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.files, served.requests, served.offer = {}, [], offer
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{served.server_port}/cifar.tar.gz")
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def cifar_blob(tmp_path, files=None) -> bytes:
    return pack(tmp_path, files or cifar_files(), "tar.gz", name="made").read_bytes()


def test_cifar10_is_fetched_once_and_parsed(tmp_path, own_cache, server):
    server.offer(cifar_blob(tmp_path))
    splits = load_dataset("cifar10", progress=False)
    check_invariants(splits)
    assert splits.train.shape == (3, 32, 32)
    assert splits.train.classes == CIFAR_CLASSES
    assert splits.train.name == "cifar10"
    assert same(splits, load_dataset("cifar10"))
    assert fetch_cifar10() == own_cache / "cifar.tar.gz"
    assert len(server.requests) == 1
    for part, names in zip(splits, cifar10.BATCHES.values(), strict=True):
        records = [cifar_files()[f"cifar-10-batches-bin/{name}"] for name in names]
        raw = b"".join(records)
        expected = Counter(raw[i : i + 3073] for i in range(0, len(raw), 3073))
        pixels = (part.x * 255).round().byte().flatten(1).numpy()
        labels = part.y.numpy().astype(np.uint8)[:, None]
        assert Counter(row.tobytes() for row in np.hstack([labels, pixels])) == expected


def test_cifar10_is_never_unpacked_and_survives_without_its_archive(tmp_path, own_cache, server):
    server.offer(cifar_blob(tmp_path))
    first = load_dataset("cifar10", progress=False)
    kept = sorted(file.name for file in own_cache.iterdir())
    key = f"cifar10-{cifar10.SHA256[:16]}"
    assert kept == ["cifar.tar.gz", f"{key}.json", f"{key}.npy"]
    (own_cache / "cifar.tar.gz").unlink()
    assert same(first, load_dataset("cifar10"))
    assert len(server.requests) == 1


def test_an_archive_put_there_by_hand_needs_no_network(tmp_path, own_cache, server):
    blob = cifar_blob(tmp_path)
    server.offer(blob)
    own_cache.mkdir()
    (own_cache / "cifar.tar.gz").write_bytes(blob)
    load_dataset("cifar10", n_train=4, classes=[0, 3])
    assert not server.requests


def test_fetching_shows_a_bar_when_asked(tmp_path, server, capsys):
    server.offer(cifar_blob(tmp_path))
    fetch_cifar10(tmp_path / "quiet", progress=False)
    assert "%|" not in capsys.readouterr().err
    fetch_cifar10(tmp_path / "bar", progress=True)
    assert "100%|" in capsys.readouterr().err


@pytest.mark.parametrize("before", [None, b"an old or broken file"])
def test_a_wrong_checksum_leaves_no_bad_file_and_a_retry_works(before, tmp_path, own_cache, server):
    blob = cifar_blob(tmp_path)
    own_cache.mkdir()
    if before:
        (own_cache / "cifar.tar.gz").write_bytes(before)
    server.offer(b"something else", sha256=hashlib.sha256(blob).hexdigest())
    with pytest.raises(DataError, match=r"wrong checksum.*Try again later, or put the archive"):
        load_dataset("cifar10", progress=False)
    assert [file.read_bytes() for file in own_cache.iterdir()] == ([before] if before else [])
    server.offer(blob)
    assert len(load_dataset("cifar10", progress=False).train) == 40


@pytest.mark.parametrize("honest", [True, False])
def test_a_download_cut_short_leaves_no_bad_file(honest, tmp_path, own_cache, server):
    blob = cifar_blob(tmp_path)
    claimed = len(blob) if honest else len(blob) // 2
    server.offer(blob[: len(blob) // 2], hashlib.sha256(blob).hexdigest(), claimed)
    with pytest.raises(DataError, match="no network" if honest else "wrong checksum"):
        load_dataset("cifar10", progress=False)
    assert not list(own_cache.iterdir())


def test_no_network(own_cache, server, monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), None) as closed:
        port = closed.server_port
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{port}/cifar.tar.gz")
    with pytest.raises(DataError, match="no network") as caught:
        load_dataset("cifar10", progress=False)
    for way_out in ("Try again later", str(own_cache / "cifar.tar.gz"), "'digits'", cifar10.SHA256):
        assert way_out in str(caught.value)


def test_an_address_that_is_gone(server):
    with pytest.raises(DataError, match="404"):
        load_dataset("cifar10", progress=False)


def test_a_folder_that_cannot_take_the_download(tmp_path, server):
    server.offer(cifar_blob(tmp_path))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"cannot write .*Set MPKIT_DATA"):
        load_dataset("cifar10", cache=tmp_path / "file", progress=False)


def test_without_pooch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(DataError, match="pip install pooch"):
        fetch_cifar10()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"../evil": b"x"}, r"outside its own folder, '\.\./evil'"),
        ({"cifar-10-batches-bin/test_batch.bin": b""}, "lacks test_batch.bin: delete it"),
        ({"cifar-10-batches-bin/test_batch.bin": bytes(3072)}, "is not CIFAR-10 in binary"),
        ({"cifar-10-batches-bin/test_batch.bin": b"\x04" * 3073}, "is not CIFAR-10 in binary"),
        ({"cifar-10-batches-bin/test_batch.bin": bytes(3073)}, "'automobile' .* 0 in test/"),
    ],
)
def test_an_archive_that_is_not_cifar10(change, message, tmp_path, own_cache, server):
    server.offer(cifar_blob(tmp_path, cifar_files() | change))
    with pytest.raises(DataError, match=message):
        load_dataset("cifar10", progress=False)
    assert [file.name for file in own_cache.iterdir()] == ["cifar.tar.gz"]
    assert not (tmp_path / "evil").exists()


def test_a_truncated_cifar10_archive(tmp_path, server):
    blob = cifar_blob(tmp_path)
    for cut in (10, len(blob) // 3, len(blob) * 2 // 3):
        server.offer(blob[:cut])
        with pytest.raises(DataError, match="cut off or damaged"):
            load_dataset("cifar10", progress=False)
