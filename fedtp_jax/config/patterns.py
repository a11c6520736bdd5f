"""Which leaves of a model rules name by default."""

from fedtp_jax.config.fields import option

# Self-attention's projections to queries, keys and values, the classifier, the normalisation layers, and
# the adapters beside attention, by this package's leaf names.
QKV = (r"(^|/)(query|key|value)/kernel$",)
HEAD = (r"(^|/)head/",)
NORMS = (r"norm[^/]*/",)
ADAPTER = (r"(^|/)adapter/",)
KERNELS = (r"(^|/)kernel$",)  # the matrices of all layers


def fixed(default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The field of the rule for fixed leaves, which comes before the others."""
    return option(default, "regular expressions on leaf paths that keep their initial values, alike for all")
