"""Peak memory of a piece of work, as the lab of chapter 03 measures it."""

from mpkit.lab.kit.measure import peak_bytes

__all__ = ["peak_bytes"]
