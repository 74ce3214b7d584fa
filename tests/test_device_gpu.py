"""A GPU as it is set for this process, without one: what it may take, and how it rounds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mpkit import device

CPU, GPU = torch.device("cpu"), torch.device("cuda")


# ── a card that several share ───────────────────────────────────────────────────────────────────


@pytest.fixture
def card(monkeypatch):
    """A GPU of 80 GiB, and the caps that were set on it."""
    caps = []
    there = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: there)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *given: caps.append(given)
    )
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *_, **__: None)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    return caps


@pytest.mark.parametrize(
    ("text", "share"),
    [("20", 0.25), (" 20GiB", 0.25), ("0.8", 0.01), ("80", 1), ("25%", 0.25), ("100 %", 1)],
)
def test_a_process_takes_no_more_than_it_may(card, monkeypatch, text, share):
    monkeypatch.setenv("MPKIT_GPU_MEMORY", text)
    device.make_reproducible(torch.device("cuda", 1))
    device.make_reproducible(GPU)
    assert card == [(pytest.approx(share), 1), (pytest.approx(share), None)]
    device.make_reproducible(CPU)
    assert len(card) == 2


@pytest.mark.parametrize("text", ["80.1", "0", "-3", "101%", "0%", "nan", "half", "GiB", "%"])
def test_a_cap_that_is_none_is_refused(card, monkeypatch, text):
    monkeypatch.setenv("MPKIT_GPU_MEMORY", text)
    with pytest.raises(ValueError, match=r"must be GiB, such as 6, or .*the 80\.0 GiB") as error:
        device.make_reproducible(GPU)
    assert repr(text) in str(error.value)
    assert not card


@pytest.mark.parametrize("text", [None, "", " "])
def test_without_the_variable_there_is_no_cap(card, monkeypatch, text):
    monkeypatch.delenv("MPKIT_GPU_MEMORY", raising=False)
    if text is not None:
        monkeypatch.setenv("MPKIT_GPU_MEMORY", text)
    device.make_reproducible(GPU)
    assert not card


# ── how a GPU rounds ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def rounding():
    """Whether products and convolutions may be taken in TF32; left as it was found."""
    where = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [each.allow_tf32 for each in where]
    yield lambda: [each.allow_tf32 for each in where]
    for each, allowed in zip(where, before, strict=True):
        each.allow_tf32 = allowed


@pytest.mark.parametrize("text", [None, "", "0", "1"])
def test_float32_is_float32_unless_it_is_said(card, rounding, monkeypatch, text):
    monkeypatch.delenv("MPKIT_TF32", raising=False)
    if text is not None:
        monkeypatch.setenv("MPKIT_TF32", text)
    before = rounding()
    device.make_reproducible(CPU)
    assert rounding() == before
    for each in (torch.backends.cuda.matmul, torch.backends.cudnn):
        each.allow_tf32 = text != "1"
    device.make_reproducible(GPU)
    assert rounding() == [text == "1"] * 2


@pytest.mark.parametrize("text", ["yes", "2", "tf32"])
def test_a_word_that_says_nothing_of_rounding_is_refused(card, monkeypatch, text):
    monkeypatch.setenv("MPKIT_TF32", text)
    with pytest.raises(ValueError, match=rf"MPKIT_TF32 '{text}' must be 1 .* or 0"):
        device.make_reproducible(GPU)
