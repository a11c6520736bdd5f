"""Counts in words: one client has, two clients have."""


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Such as "1 client" and "20 clients"; `many`: what more than one, or none, are, by default with an s.

    Verbs go with their nouns: count_of(3, "client has", "clients have").
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
