"""What no server takes: an upload of numbers that are not finite, whatever became of it on its way."""

from typing import Any

import jax.numpy as jnp

from fedtp_jax.core import tree
from fedtp_jax.core.tree import Leaves
from fedtp_jax.engine.lanes import ClientWork, Row
from fedtp_jax.learning.method import Kept, Method, Upload


def with_finite_uploads(method: Method) -> Method:
    """`method` that excludes clients who send such; local training has looked at what it made itself."""

    def finish(shared: Leaves, row: Row, carry: Any) -> tuple[Upload, Kept]:
        upload, kept = method.work.finish(shared, row, carry)
        return excluded_unless(tree.all_finite((*upload, kept.cotangent)), upload, kept)

    return method._replace(work=ClientWork(method.work.start, method.work.step, finish))


def excluded_unless(good: Any, upload: Upload, kept: Kept) -> tuple[Upload, Kept]:
    """They as they are, or those of a client that is excluded."""

    def kept_if(leaves: Leaves) -> Leaves:
        return {path: jnp.where(good, leaf, 0.0) for path, leaf in leaves.items()}

    upload = Upload(kept_if(upload.shared), jnp.where(good, upload.weight, 0.0))
    return upload, kept._replace(
        cotangent=kept_if(kept.cotangent),
        loss=jnp.where(good, kept.loss, 0.0),
        excluded=jnp.where(good, kept.excluded, 1.0),
    )
