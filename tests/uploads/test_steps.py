"""Each step that an upload takes, alone: what it sends, on the mean, in bits; and wrong ones."""

import jax
import numpy as np
import pytest

from fedtp_jax import UserError
from fedtp_jax.config.load import from_dict
from fedtp_jax.uploads.chain import make_chain, num_bytes
from fedtp_jax.uploads.transform import joined, norm_of

RNG = np.random.default_rng(0)
CHANGE = {"a": RNG.normal(size=(4, 3)).astype(np.float32), "b": RNG.normal(size=7).astype(np.float32)}
KEYS = jax.random.split(jax.random.key(0), 4000)


def chain(*steps):
    return from_dict({"upload": [*steps]}).upload


def apply(step, change=CHANGE, key=KEYS[0]):
    (made,) = make_chain(chain(step))
    return made.apply(change, key)


def several(step):
    """[keys, entries] of the change, sent with other keys."""
    (made,) = make_chain(chain(step))
    return np.asarray(jax.jit(jax.vmap(lambda key: joined(made.apply(CHANGE, key))))(KEYS))


def test_clip_shortens_what_is_longer_and_nothing_else():
    length = float(norm_of(CHANGE))
    assert length == pytest.approx(np.sqrt(sum((leaf**2).sum() for leaf in CHANGE.values())))
    shorter = apply({"name": "clip", "norm": 0.5})
    assert float(norm_of(shorter)) == pytest.approx(0.5)
    np.testing.assert_allclose(shorter["a"], CHANGE["a"] * 0.5 / length, rtol=1e-6)
    for path, leaf in apply({"name": "clip", "norm": 2 * length}).items():
        np.testing.assert_array_equal(leaf, CHANGE[path])


def test_quantized_entries_are_few_levels_and_right_on_the_mean():
    sent = several({"name": "quantize", "bits": 3})
    for first, size in ((0, 12), (12, 7)):
        largest = np.abs(np.asarray(joined(CHANGE))[first : first + size]).max()
        levels = np.unique(np.round(sent[:, first : first + size] / (largest / 3), 4))
        assert set(levels) <= {-3, -2, -1, 0, 1, 2, 3}
    np.testing.assert_allclose(sent.mean(0), joined(CHANGE), atol=0.06)
    zero = {"a": np.zeros(3, np.float32)}
    assert not np.asarray(apply({"name": "quantize"}, zero)["a"]).any()


def test_the_largest_entries_are_sent():
    sent = np.asarray(joined(apply({"name": "top_k", "share": 0.3})))
    entries = np.asarray(joined(CHANGE))
    largest = np.argsort(-np.abs(entries))[:6]
    np.testing.assert_array_equal(np.flatnonzero(sent), np.sort(largest))
    np.testing.assert_array_equal(sent[largest], entries[largest])


def test_random_entries_are_right_on_the_mean():
    sent = several({"name": "random_k", "share": 0.25})
    assert (np.count_nonzero(sent, axis=1) == 5).all()
    np.testing.assert_allclose(sent.mean(0), joined(CHANGE), atol=0.15)
    fed = several({"name": "random_k", "share": 0.25, "error_feedback": True})
    entries = np.asarray(joined(CHANGE))
    assert all(entry in (0, entries[k]) for k, entry in enumerate(fed[0]))


def test_signs_have_each_leafs_mean_size():
    sent = apply("sign")
    np.testing.assert_allclose(sent["b"], np.sign(CHANGE["b"]) * np.abs(CHANGE["b"]).mean(), rtol=1e-6)


def test_signs_of_few_entries_leave_the_others_out():
    few, signs = make_chain(chain({"name": "top_k", "share": 0.3}, "sign"))
    kept = few.apply(CHANGE, KEYS[0])
    sent = signs.apply(kept, KEYS[0])
    for path, leaf in kept.items():
        there = np.asarray(leaf) != 0
        size = np.abs(leaf)[there].mean() if there.any() else 0
        np.testing.assert_allclose(sent[path], np.sign(leaf) * size, rtol=1e-6)
    assert num_bytes([few, signs], [12, 7]) == -(-(6 * (1 + 5) + 2 * 32) // 8)


def test_noise_is_in_norms_of_the_clip():
    _, noise = make_chain(chain({"name": "clip", "norm": 3.0}, {"name": "noise", "multiplier": 0.5}))
    sent = np.asarray(jax.vmap(lambda key: joined(noise.apply(CHANGE, key)))(KEYS)) - joined(CHANGE)
    assert sent.std() == pytest.approx(1.5, rel=0.02) and abs(sent.mean()) < 0.02


@pytest.mark.parametrize(
    ("steps", "bits"),
    [
        (["clip"], 32 * 19),
        ([{"name": "quantize", "bits": 4}], 4 * 19 + 2 * 32),
        ([{"name": "top_k", "share": 0.3}], 6 * (32 + 5)),
        ([{"name": "random_k", "share": 0.3}], 6 * 32 + 64),
        ([{"name": "top_k", "share": 0.3}, {"name": "quantize", "bits": 8}], 6 * (8 + 5) + 2 * 32),
        (["clip", "noise", "sign"], 19 + 2 * 32),
    ],
    ids=str,
)
def test_what_an_upload_takes(steps, bits):
    assert num_bytes(make_chain(chain(*steps)), [12, 7]) == -(-bits // 8)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["noise"], "upload: noise is in norms of a clip, and there is none before it"),
        (["quantize", "clip"], "upload: clip cannot come after quantize; the order is clip, noise, top_k"),
        (["clip", "clip"], "upload: clip cannot come after clip"),
        (["top_k", "random_k"], "upload: random_k cannot come after top_k"),
        (["klip"], r"upload\.0\.name: got 'klip' \(did you mean 'clip'\?\); choose one of clip, noise"),
        ([{"name": "clip", "norm": 0}], r"upload\.0\.norm: 0(\.0)? is not greater than 0|upload.0.norm"),
        ([{"name": "top_k", "shares": 0.1}], r"upload\.0\.shares: unknown field"),
    ],
)
def test_mistakes(steps, message):
    with pytest.raises(UserError, match=message):
        chain(*steps)
