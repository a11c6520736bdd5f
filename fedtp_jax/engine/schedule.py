"""A round as a schedule: whose batch does each lane of each device work on, tick by tick (NumPy only).

Axes: D devices, L lanes of a device, T ticks, S segments, B batch, K clients of the wave, C slots (clients
that a device may hold). A segment is a stretch of ticks between two changes of a device's lanes: at its
start some lanes take up their next client, at its end some lanes flush theirs.
"""

import dataclasses
import heapq
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fedtp_jax.core.rng import Purpose, generator

MAX_LANES = 256  # of a device, by auto: any chip is full long before, and tables grow with lanes
STEP_PRICE = 8  # examples that would take as long as what a step takes beside them


@dataclasses.dataclass(frozen=True)
class Layout:
    """Static sizes of a program's tables; equal layouts share one compiled program."""

    devices: int
    lanes: int
    slots: int
    ticks: int
    batch: int

    @property
    def num_bytes(self) -> int:
        """About how much the tables take."""
        return 4 * self.devices * self.ticks * self.lanes * (self.batch + 2)


class Batches(NamedTuple):
    """The local steps of one client.

    positions [steps, B] int32 of examples, of which valid [steps] are real; last_pass: the first of the last
    steps that are as many as a pass over the examples takes; prelude: steps that come before step 0.
    """

    positions: np.ndarray
    valid: np.ndarray
    last_pass: int = 0
    prelude: int = 0


class Tables(NamedTuple):
    """What the engine reads. The leading axis D is split over the devices.

    positions [D, T, L, B]: of the examples; valid [D, T, L]: how many are real (0: the lane idles);
    step [D, T, L]: number of the client's local step, below 0 in its prelude;
    slot [D, C, L]: whose work a lane does in a segment;
    starts, ends [D, C, L]: whether the lane's client begins, or is done, with the segment;
    bounds [D, C + 1]: first tick of each segment; segments [D]: how many there are.
    """

    positions: np.ndarray
    valid: np.ndarray
    step: np.ndarray
    slot: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    bounds: np.ndarray
    segments: np.ndarray


class Schedule(NamedTuple):
    """Tables, who sits where, and how well the lanes are filled.

    position: [D * C] which of the wave's K clients sits in each slot, -1 where none does.
    useful_steps: local steps of all clients; executed_steps: what all lanes could do until the last is done.
    """

    tables: Tables
    position: np.ndarray
    useful_steps: int
    executed_steps: int


def sample_cohort(seed: int, round: int, candidates: np.ndarray, size: int) -> np.ndarray:
    """[K] client ids, drawn uniformly without replacement from `candidates`, in ascending order."""
    rng = generator(seed, Purpose.COHORT, round)
    return np.sort(rng.choice(candidates, size=size, replace=False))


def shuffled_batches(
    shard: np.ndarray, epochs: int, batch: int, rng: np.random.Generator, steps: int | None = None
) -> Batches:
    """`epochs` passes over `shard`, each in a fresh order, or passes without end cut after `steps` steps.

    The last batch of a pass may be smaller.
    """
    in_pass = steps_of(len(shard), batch)
    passes = epochs if steps is None else math.ceil(steps / in_pass)
    whole = join_batches([split_batches(rng.permutation(shard), batch) for _ in range(passes)])
    if steps is None:
        return whole
    return Batches(whole.positions[:steps], whole.valid[:steps], max(steps - in_pass, 0))


def join_batches(parts: Sequence[Batches]) -> Batches:
    """Batches one after the other; the last of the parts is the last pass."""
    positions, valid = (np.concatenate(arrays) for arrays in zip(*(part[:2] for part in parts), strict=True))
    return Batches(positions, valid, len(valid) - len(parts[-1].valid))


def steps_of(examples: Any, batch: int) -> Any:
    """Batches in a pass over so many examples; number or array."""
    return -(-examples // batch)


def best_batch(sizes: np.ndarray, largest: int) -> int:
    """The batch, at most `largest`, in which passes over shards of these sizes take least.

    A last batch is filled up, so small shards want small ones; a step has a price of its own. Few sizes are
    tried, so that seeds, whose shards differ, mostly come to the same and share a program.
    """
    most = int(sizes.max(initial=1))
    ladder = [1, *(size * 2**power for power in range(31) for size in (2, 3))]
    enough = min(largest, next(size for size in ladder if size >= most))
    choice = [*(size for size in ladder if size < enough), enough]
    return min(choice, key=lambda batch: steps_of(sizes, batch).sum() * (batch + STEP_PRICE))


def split_batches(order: np.ndarray, batch: int) -> Batches:
    """`order` cut into consecutive batches.

    The last one is filled up with the client's own examples, masked out: another client's might hold
    a NaN, which no mask takes back.
    """
    steps = steps_of(len(order), batch)
    positions = np.resize(np.asarray(order, np.int32), steps * batch)
    valid = np.minimum(batch, len(order) - batch * np.arange(steps)).astype(np.int32)
    return Batches(positions.reshape(steps, batch), valid)


def auto_lanes(steps: np.ndarray, clients: int, devices: int, fill: int) -> int:
    """Lanes of a device for waves of `clients` drawn from those whose local steps are `steps` [N].

    ceil(total steps / longest client), split over the devices: more lanes would only idle behind the longest
    client. No more than `fill`, which fill a device: beyond them lanes are work in series, and one that idles
    costs what one that works does. Of these, as few as take no more ticks, by a few draws.
    """
    random = np.random.default_rng(0)
    draws = [random.choice(steps, clients, replace=False) for _ in range(4)]
    most = max(math.ceil(math.ceil(draw.sum() / draw.max()) / devices) for draw in draws)
    lanes = most = min(MAX_LANES, fill, most)

    def ticks(lanes: int) -> int:
        layout = Layout(devices, lanes, clients, ticks=0, batch=0)
        return sum(longest_lane(draw, pack(draw, layout)) for draw in draws)

    while lanes > 1 and ticks(lanes - 1) <= ticks(most):
        lanes -= 1
    return lanes


def longest_lane(steps: Sequence[int] | np.ndarray, queues: list[list[list[int]]]) -> int:
    """Ticks until the last lane is done, for the queues that `pack` makes of clients with these steps."""
    return max(sum(int(steps[client]) for client in lane) for device in queues for lane in device)


def plan_layout(longest_wave: np.ndarray, devices: int, lanes: int, batch: int) -> Layout:
    """A layout that fits every wave whose sorted step counts are bounded by `longest_wave` [K].

    The tick bound is that of greedy list scheduling: (total - longest) / lanes + longest.
    """
    clients = len(longest_wave)
    slots = clients if devices == 1 else min(clients, math.ceil(1.25 * clients / devices))
    longest = int(longest_wave.max())
    shared_out = math.ceil((int(longest_wave.sum()) - longest) / (devices * lanes))
    return Layout(devices, lanes, slots, longest + shared_out, batch)


def common_layout(layouts: Sequence[Layout]) -> Layout:
    """The smallest layout that fits whatever one of `layouts` fits."""
    return Layout(*(max(sizes) for sizes in zip(*map(dataclasses.astuple, layouts), strict=True)))


def pack(steps: Sequence[int] | np.ndarray, layout: Layout) -> list[list[list[int]]]:
    """queues[d][l]: clients of lane l of device d in order; longest first onto the least loaded lane.

    A device that holds `layout.slots` clients takes no more; clients without steps are on no lane.
    """
    queues: list[list[list[int]]] = [[[] for _ in range(layout.lanes)] for _ in range(layout.devices)]
    held = [0] * layout.devices
    # lanes outermost, so that few clients spread over devices before they share one
    lanes = [(0, lane, device) for lane in range(layout.lanes) for device in range(layout.devices)]
    for client in np.argsort(-np.asarray(steps), kind="stable"):
        if steps[client] == 0:
            break
        while held[lanes[0][2]] == layout.slots:
            heapq.heappop(lanes)
        load, lane, device = lanes[0]
        heapq.heapreplace(lanes, (load + int(steps[client]), lane, device))
        queues[device][lane].append(int(client))
        held[device] += 1
    return queues


def build_schedule(batches: Sequence[Batches], layout: Layout) -> Schedule:
    """The schedule of a wave of K clients, given each client's local steps in order."""
    d, lanes, c, b = layout.devices, layout.lanes, layout.slots, layout.batch
    queues = pack([len(client.valid) for client in batches], layout)
    ticks = [max(sum(len(batches[k].valid) for k in queue) for queue in device) for device in queues]
    t = layout.ticks if max(ticks) <= layout.ticks else 2 * max(ticks)
    tables = Tables(
        positions=np.zeros((d, t, lanes, b), np.int32),
        valid=np.zeros((d, t, lanes), np.int32),
        step=np.zeros((d, t, lanes), np.int32),
        slot=np.zeros((d, c, lanes), np.int32),
        starts=np.zeros((d, c, lanes), bool),
        ends=np.zeros((d, c, lanes), bool),
        bounds=np.zeros((d, c + 1), np.int32),
        segments=np.zeros(d, np.int32),
    )
    position = np.full(d * c, -1)
    for device, queue in enumerate(queues):
        slots = position[device * c : (device + 1) * c]
        _fill_device(Tables(*(table[device : device + 1] for table in tables)), slots, queue, batches)
    useful = sum(len(client.valid) for client in batches)
    return Schedule(tables, position, useful, max(ticks) * lanes * d)


def stays(tables: Tables, position: np.ndarray) -> np.ndarray:
    """[K, 5] who sits where: device, lane, client (position in the wave), first tick, tick after the last."""
    found = []
    for device, segments in enumerate(tables.segments):
        for lane in range(tables.slot.shape[2]):
            first = np.flatnonzero(tables.starts[device, :segments, lane])
            last = np.flatnonzero(tables.ends[device, :segments, lane])
            slots = device * tables.slot.shape[1] + tables.slot[device, first, lane]
            begin, end = tables.bounds[device, first], tables.bounds[device, last + 1]
            found += [(device, lane, *stay) for stay in zip(position[slots], begin, end, strict=True)]
    return np.array(found, int).reshape(-1, 5)


def _fill_device(
    tables: Tables, slots: np.ndarray, queues: list[list[int]], batches: Sequence[Batches]
) -> None:
    """Write one device's part of the tables (views with a leading axis of 1) and who sits in its slots."""
    sits = []  # (lane, slot, first tick, end tick)
    slot = 0
    for lane, queue in enumerate(queues):
        tick = 0
        for client in queue:
            steps = len(batches[client].valid)
            until = tick + steps
            width = batches[client].positions.shape[1]
            tables.positions[0, tick:until, lane, :width] = batches[client].positions
            tables.valid[0, tick:until, lane] = batches[client].valid
            tables.step[0, tick:until, lane] = np.arange(steps) - batches[client].prelude
            slots[slot] = client
            sits.append((lane, slot, tick, until))
            slot, tick = slot + 1, until
    bounds = np.unique([0] + [until for *_, until in sits])
    tables.segments[0] = len(bounds) - 1
    tables.bounds[0, : len(bounds)] = bounds
    segment_of = {int(tick): segment for segment, tick in enumerate(bounds)}
    for lane, slot, tick, until in sits:
        first, last = segment_of[tick], segment_of[until]
        tables.slot[0, first:last, lane] = slot
        tables.starts[0, first, lane] = True
        tables.ends[0, last - 1, lane] = True
