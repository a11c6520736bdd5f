"""Numbers as they are read: bytes, durations, counts."""

PREFIXES = ("", "k", "M", "G", "T", "P")


def in_bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if round(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def duration(seconds: float) -> str:
    """Two units at most: 0.04 s, 25 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def brief(seconds: float) -> str:
    """A duration that may be far below a second: 8 ns, 2.3 ms."""
    for unit, least in (("ms", 1e-3), ("µs", 1e-6), ("ns", 0.0)):
        if least <= seconds < 1:
            return f"{seconds * {'ms': 1e3, 'µs': 1e6, 'ns': 1e9}[unit]:.3g} {unit}"
    return duration(seconds)


def with_prefix(number: float, unit: str) -> str:
    """4.81 TB/s, 197 TFLOP/s: powers of 1000, as makers count."""
    power = 0
    while number >= 999.5 and power < len(PREFIXES) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {PREFIXES[power]}{unit}"
