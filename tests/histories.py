"""Made-up histories and tables of clients, to be drawn."""

import numpy as np
import pandas as pd


def history(rounds, every):
    """A row per round, evaluated every `every` rounds and in the last."""
    t = np.arange(1, rounds + 1)
    evaluated = (t % every == 0) | (t == rounds)

    def test(values):
        return np.where(evaluated, values, np.nan)

    return pd.DataFrame(
        {
            "round": t,
            "drawn": 5,
            "clients": 5,
            "stragglers": 0,
            "share_done": 1.0,
            "void": 0,
            "excluded": 0,
            "excluded_clients": "",
            "examples": 6000,
            "train_loss": 2 / t,
            "test_accuracy": test(1 - 0.5 / t),
            "test_client_mean": test(1 - 0.6 / t),
            "test_client_std": test(np.full(rounds, 0.1)),
            "test_worst_decile": test(0.9 - 0.6 / t),
            "test_loss": test(3 / t),
            "clients_tested": test(np.full(rounds, 20.0)),
            "clients_without_test": test(np.zeros(rounds)),
        }
    )


def clients(correct, examples):
    """A row per client, as in clients.csv; `correct` of `examples` test examples are right."""
    correct, examples = np.asarray(correct), np.asarray(examples)
    tested = examples > 0
    accuracy = np.where(tested, correct / np.maximum(examples, 1), np.nan)
    return pd.DataFrame(
        {
            "client": np.arange(len(correct)),
            "train_examples": 5 * examples,
            "test_examples": examples,
            "test_correct": correct,
            "test_accuracy": accuracy,
            "test_loss": np.where(tested, 1.5, np.nan),
        }
    )


def line(axes, name):
    (found,) = [line for line in axes.lines if line.get_label().startswith(name)]
    return found
