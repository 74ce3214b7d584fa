"""Peak memory, as the course measures it in chapter 03."""

from mpkit.course.measure import peak_bytes

__all__ = ["peak_bytes"]
