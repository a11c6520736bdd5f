"""Where a run's numbers can go beside its folder: a tracker is what `on_round` takes, called with a Progress.

TensorBoard's stands here; one for another service is as short.
"""

from fedtp_jax.trackers.tensorboard import TensorBoard

__all__ = ["TensorBoard"]
