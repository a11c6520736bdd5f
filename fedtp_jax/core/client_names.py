"""What a client is called: its number, and its name where the data give one."""

from collections.abc import Mapping, Sequence

from fedtp_jax.core.errors import UserError, nearest

IN_MESSAGES, IN_PICTURES = 60, 20  # letters of a name


def called(client: int, names: Sequence[str] | Mapping[int, str], letters: int = IN_MESSAGES) -> str:
    """Such as "7 (Ophelia)", or "7"; `names` [N] of all clients, or none."""
    name = str(names[client] or "") if len(names) else ""
    return f"{client} ({shortened(name, letters)})" if name else str(client)


def number_of(client: int | str, known: Mapping[str, int], num_clients: int, where: str) -> int:
    """Of a client that is given by number, or by a name of those `known` {name: number}; a number is no name.

    Raises UserError, which begins with `where`, if there is none.
    """
    if isinstance(client, str) and client not in known:
        named = f"no client is called {client!r}{nearest(client, known)}"
        missing = named if known else f"got {client!r}, but these clients have no names"
        raise UserError(f"{where}: {missing}; clients have numbers too, 0 to {num_clients - 1}")
    number = known[client] if isinstance(client, str) else client
    if not 0 <= number < num_clients:
        hint = f"; the one that is called {number} is {known[str(number)]}" if str(number) in known else ""
        raise UserError(f"{where}: got client {number}, but they are 0 to {num_clients - 1}{hint}")
    return number


def by_name(names: Sequence[str]) -> dict[str, int]:
    """{name: number} of the clients with these names [N], or of none."""
    return {name: number for number, name in enumerate(names)}


def shortened(name: str, letters: int) -> str:
    """At most so many letters: most of the end stays, as long names often begin alike."""
    if len(name) <= letters:
        return name
    end = 2 * letters // 3
    return f"{name[: letters - end - 1]}\N{HORIZONTAL ELLIPSIS}{name[-end:]}"
