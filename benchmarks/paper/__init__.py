"""The paper's claims, put to the test: `python -m benchmarks paper ITEM`."""
