"""What a client is called: its number, and its name where the data give one."""

from collections.abc import Mapping, Sequence

IN_MESSAGES, IN_PICTURES = 60, 20  # letters of a name


def called(client: int, names: Sequence[str] | Mapping[int, str], letters: int = IN_MESSAGES) -> str:
    """Such as "7 (Ophelia)", or "7"; `names` [N] of all clients, or none."""
    name = str(names[client] or "") if len(names) else ""
    return f"{client} ({shortened(name, letters)})" if name else str(client)


def shortened(name: str, letters: int) -> str:
    """At most so many letters: most of the end stays, as long names often begin alike."""
    if len(name) <= letters:
        return name
    end = 2 * letters // 3
    return f"{name[: letters - end - 1]}\N{HORIZONTAL ELLIPSIS}{name[-end:]}"
