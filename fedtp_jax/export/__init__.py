"""Trained clients for other programs: files that need no simulator to be read."""

from fedtp_jax.export.safetensors_file import export_client

__all__ = ["export_client"]
