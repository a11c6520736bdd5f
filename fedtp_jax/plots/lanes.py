"""A round's schedule as a picture: who sits on which lane."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedtp_jax.plots.style import GRID, INK, LEGEND, SKY, Picture, style

MOST_LABELLED = 32  # lanes whose clients are named


def lane_schedule(stays: np.ndarray, devices: int, lanes: int, title: str) -> Figure:
    """A wave as a Gantt picture: a row per lane of each device, a bar per client; hatched where a lane idles.

    Args:
      stays: [K, 5] device, lane, client, first tick, tick after the last.
      devices, lanes: how many, and how many on each.
      title: to which the wave's occupancy is added.
    """
    rows = [(device, lane) for device in range(devices) for lane in range(lanes)]
    row, ticks = stays[:, 0] * lanes + stays[:, 1], stays[:, 4] - stays[:, 3]
    until, height = stays[:, 4].max(), min(1.3 + 0.34 * len(rows), 8)
    figure = Picture(figsize=(10, height + 0.7), layout="constrained")
    axes = figure.subplots()
    title += f", occupancy {ticks.sum() / (until * len(rows)):.2f}"
    style(axes, title, "tick (one local step of every lane)", "", grid="x")
    idle = axes.barh(range(len(rows)), until, 0.8, color="white", edgecolor=GRID, hatch="////", label="idle")
    bars = axes.barh(row, ticks, 0.8, stays[:, 3], color=SKY, edgecolor="white", label="a client")
    room = until / 60  # what a number of three digits needs
    if len(rows) <= MOST_LABELLED:
        names = [f"device {device}, lane {lane}" for device, lane in rows]
        axes.set_yticks(range(len(rows)), names)
        for bar, client in zip(bars, stays[:, 2], strict=True):
            if bar.get_width() >= room:
                x, y = bar.get_center()
                axes.text(x, y, str(client), ha="center", va="center", fontsize=8, color=INK)
    else:
        axes.set_ylabel("lane")
    axes.invert_yaxis()
    axes.set_xlim(0, until)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(handles=[bars, idle], loc="outside lower right", ncols=2, **LEGEND)
    return figure
