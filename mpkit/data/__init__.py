"""Data: pictures that are drawn, that ship, that are fetched, and your own."""

from mpkit.data.archives import DataError
from mpkit.data.datasets import DEFAULT_DATA, Dataset, fetch_cifar10, load_dataset
from mpkit.data.places import cache_folder

__all__ = ["DEFAULT_DATA", "DataError", "Dataset", "cache_folder", "fetch_cifar10", "load_dataset"]
