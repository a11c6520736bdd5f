"""Trained clients for other programs, as files that need no simulator; and what a run is given by others."""

from fedtp_jax.export.safetensors_file import export_client, export_novel

__all__ = ["export_client", "export_novel"]
