"""Results and configurations that go to other processes."""

import copy
import pickle

import numpy as np
import pytest
from tiny_run import same_state


@pytest.mark.parametrize(
    "how", [lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_a_result_travels(how, whole):
    result, _ = whole
    there = how(result)
    assert there.accuracy == result.accuracy
    assert there.config == result.config == how(result.config)
    assert there.clients.equals(result.clients)
    same_state(there.state, result.state)
    images = np.zeros((2, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(there.predict(5, images), result.predict(5, images))
