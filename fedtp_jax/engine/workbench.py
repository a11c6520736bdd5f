"""The devices with all examples on them, where any per-client work is planned, laid out and run."""

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from fedtp_jax.config import SimulationConfig
from fedtp_jax.core import hosts, tree
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Dataset, Windows
from fedtp_jax.engine.examples import DeviceExamples, DeviceWindows
from fedtp_jax.engine.lanes import ClientWork, Facts, Row, run_wave, with_noise, with_steady_noise
from fedtp_jax.engine.mesh import per_device, replicated
from fedtp_jax.engine.products import numbers_of_product
from fedtp_jax.engine.programs import DoesNotFit, Programs
from fedtp_jax.engine.schedule import Batches, Layout, auto_lanes, build_schedule, common_layout, plan_layout
from fedtp_jax.engine.waves import Prepared, Wave, prepare_wave
from fedtp_jax.partitions.partition import Partition

# By `engine.wave_size: auto`: bytes of a wave's rows on CPU and on accelerators, and clients of a device in a
# wave. More would only take memory, fewer would leave devices to wait for each other.
ROWS_LIMIT, ROWS_LIMIT_ACCELERATOR = 2**26, 2**30
FEWEST, MOST = 16, 1024
# Numbers that the matrix products of a tick give in the mean, when lanes fill a device, by reasoning, not by
# measure: on a GPU a kernel takes longer to write them than to start, on a TPU more leave its vector memory.
FULL, FULL_TPU = 2**24, 2**20
USED = 0.9  # of a device's memory; the rest is left to the compiler
T = TypeVar("T")

# (what of the programs, such as `Programs.num_bytes`, layout) -> that of the program for the layout
OfProgram = Callable[[Callable[..., Any], Layout], Any]


class Workbench:
    """Examples of N clients on the devices of a mesh.

    Positions of examples count through the train examples and on through the test examples, so that one job
    may read both.

    Args:
      config: the simulation's settings.
      data, partition: the examples and who holds them.
      mesh: the devices.
    """

    def __init__(self, config: SimulationConfig, data: Dataset, partition: Partition, mesh: Mesh) -> None:
        if data.kind in ("text", "tokens") and partition.noise is not None:
            raise UserError(
                "partition.name: feature_noise adds noise to images or other numbers, but the data is "
                f"{data.kind}; choose another partition"
            )
        self.config, self.partition, self.mesh = config, partition, mesh
        self.programs = Programs()
        self.replicated, self.per_device = replicated(mesh), per_device(mesh)
        self._gather = jax.jit(lambda arrays: arrays, out_shardings=self.replicated)
        self.examples = self._put_examples(data)
        self._first_test = len(data.train)

    @property
    def num_clients(self) -> int:
        return self.partition.num_clients

    def for_partition(self, config: SimulationConfig, partition: Partition) -> "Workbench":
        """Another simulation's bench, with these devices, examples and programs."""
        other = copy.copy(self)
        other.config, other.partition = config, partition
        return other

    def train_positions(self, client: int) -> np.ndarray:
        """Positions of the train examples of `client`."""
        return self.partition.train[client]

    def test_positions(self, client: int) -> np.ndarray:
        """Positions of the test examples of `client`."""
        return self.partition.test[client] + self._first_test

    def validation_positions(self, client: int) -> np.ndarray:
        """Positions of the train examples that `client` is validated on."""
        assert self.partition.validation is not None, "asked for where there are some"
        return self.partition.validation[client]

    def _put_examples(self, data: Dataset) -> DeviceExamples | DeviceWindows:
        a, b = data.train, data.test
        self.scale = np.asarray(data.mean, np.float32), np.asarray(data.std, np.float32)
        if isinstance(a, Windows) and isinstance(b, Windows):
            start = np.concatenate([a.start, b.start + len(a.text)]).astype(np.int32)
            windows = np.concatenate([a.text, b.text]), start, np.arange(a.length + 1, dtype=np.int32)
            return DeviceWindows(*self.replicate(windows))
        assert not isinstance(a, Windows) and not isinstance(b, Windows), "both splits are of one kind"
        shape = a.x.shape[1:]
        x = np.concatenate([a.x, b.x]).reshape(-1, math.prod(shape))
        self.targets = np.concatenate([a.y, b.y])  # as the data have them
        flat, labels, mean, std = self.replicate((x, data.learnt(self.targets), *self.scale))
        return DeviceExamples(flat, labels, mean, std, shape)

    # ----------------------------------------------------------------------------------------- planning

    def plan(
        self,
        steps: np.ndarray,
        clients: int,
        batch: int,
        row_bytes: int,
        program: OfProgram,
        like: Layout | None = None,
    ) -> Layout:
        """A layout for any `clients` of those whose local steps are `steps` [N'], in waves that fit.

        `row_bytes` is what one client's rows take. `engine.lanes: auto` takes as many lanes as the work fills
        and, by a layout's `program`, as fill the device and as its memory holds. With `like` it has that
        layout's lanes, and is that layout, made larger where it must be, if batches are of one size.
        """
        devices, size = self.mesh.size, self.wave_size(clients, row_bytes)
        longest, setting = np.sort(steps)[::-1][:size], self.config.engine.lanes
        if like:
            layout = plan_layout(longest, devices, like.lanes, batch)
            return common_layout([like, layout]) if like.batch == batch else layout
        lanes = setting
        if lanes == "auto":
            one_lane = plan_layout(longest, devices, 1, batch)
            lanes = auto_lanes(steps, size, devices, self._lanes_that_fill(one_lane, program))
        layout = plan_layout(longest, devices, min(lanes, -(-size // devices)), batch)

        def num_bytes(layout: Layout) -> int:
            return int(program(self.programs.num_bytes, layout))

        while setting == "auto" and layout.lanes > 1 and not self.fits(layout, num_bytes):
            layout = plan_layout(longest, devices, -(-layout.lanes // 2), batch)
        return layout

    def _lanes_that_fill(self, one_lane: Layout, program: OfProgram) -> int:
        """How many lanes have enough to do for all of a device; on CPU it is a core, and one lane has."""
        if not self.on_accelerator:
            return 1
        numbers = numbers_of_product(program(self.programs.jaxpr, one_lane))
        full = FULL_TPU if self.mesh.devices.flat[0].platform == "tpu" else FULL
        return max(1, math.floor(full / numbers))

    def fits(self, what: T, bytes_of: Callable[[T], int]) -> bool:
        """Whether a device's memory holds the program of `what`; a compiler may say so itself."""
        try:
            return bytes_of(what) <= self.memory()
        except DoesNotFit:
            return False

    def wave_size(self, clients: int, row_bytes: int) -> int:
        """How many of `clients` are on the devices at once: waves of one size, as few as may be."""
        most, devices = self.config.engine.wave_size, self.mesh.size
        if most == "auto":
            limit = ROWS_LIMIT_ACCELERATOR if self.on_accelerator else ROWS_LIMIT
            fit = limit // max(row_bytes, 1) // devices
            most = devices * min(MOST, max(FEWEST, fit))
        return -(-clients // -(-clients // most))

    @property
    def on_accelerator(self) -> bool:
        return bool(self.mesh.devices.flat[0].platform != "cpu")

    def memory(self) -> float:
        """Bytes of one device, infinite where it does not tell."""
        stats = self.mesh.local_devices[0].memory_stats() or {}
        return USED * float(hosts.gather(np.float32(stats.get("bytes_limit", np.inf))).min())

    def abstract_wave(self, layout: Layout, classes: int = 0) -> Wave:
        """Shapes and placement of a program's wave, without values."""
        tables = build_schedule([], layout).tables
        ids = np.zeros(layout.devices * layout.slots, np.int32)
        return self.abstract_rows(Wave(tables, ids, make_facts(ids, [], classes=classes)))

    def abstract_rows(self, rows: Any) -> Any:
        """Arrays or their shapes [D * C, ...] -> shapes and placement by device."""
        return _abstract(self.per_device, rows)

    def abstract(self, arrays: Any, shardings: Any = None) -> Any:
        """Arrays or their shapes -> shapes and placement: as `shardings` say, or copies on every device."""
        return jax.tree.map(_abstract, shardings or jax.tree.map(lambda _: self.replicated, arrays), arrays)

    # ------------------------------------------------------------------------------------------- running

    def replicate(self, arrays: Any) -> Any:
        """Copies of host arrays on every device."""
        return _put(self.replicated, arrays)

    def put(self, shardings: Any, arrays: Any) -> Any:
        """Host arrays on the devices, each as its sharding says."""
        return jax.tree.map(_put, shardings, arrays)

    def put_alone(self, array: np.ndarray) -> Any:
        """A host array on one device, where JAX puts what nobody has placed."""
        return jax.device_put(array)

    def split(self, arrays: Any) -> Any:
        """Host arrays whose leading axis is split over the devices."""
        return _put(self.per_device, arrays)

    def fetch(self, arrays: Any) -> Any:
        """Starts to bring what `split` split, or copies, back to every host; gives it when it is called."""
        if not self.per_device.is_fully_addressable:
            arrays = self._gather(arrays)
        for array in jax.tree.leaves(arrays):
            array.copy_to_host_async()  # when it is there; device_get alone would begin when it is called
        return functools.partial(jax.device_get, arrays)

    def prepare(
        self, cohort: np.ndarray, batches: Sequence[Batches], facts: Facts, layout: Layout
    ) -> Prepared:
        """The wave of `cohort` [K], with its local steps and facts [K, ...]."""
        return prepare_wave(cohort, batches, facts, layout, self.num_clients, self.split)

    def over_waves(
        self,
        work: Callable[[Any, Wave], Any],
        waves: Iterable[Prepared],
        rows_of: Callable[[np.ndarray], Any],
    ) -> Iterator[tuple[Prepared, Any]]:
        """(wave, `work(rows, wave)` on the host) of each wave, fetched while the devices run the next.

        `rows_of` gives the rows [D * C, ...] of the clients with these ids.
        """
        before: tuple[Prepared, Any] | None = None
        for prepared in waves:
            rows = self.split(rows_of(prepared.ids))
            fetched = self.fetch(work(rows, prepared.wave))
            if before:
                yield before[0], before[1]()
            before = prepared, fetched
        if before:
            yield before[0], before[1]()

    def noise(self, cohort: np.ndarray) -> np.ndarray:
        """[K] standard deviations of the noise on the clients' inputs."""
        noise = self.partition.noise
        return np.zeros(len(cohort), np.float32) if noise is None else noise[cohort]

    def run(
        self,
        work: ClientWork,
        wave: Wave,
        examples: Any,
        shared: Any,
        rows: Any,
        key: jax.Array,
        steady: bool = False,
    ) -> Any:
        """`run_wave` on a wave; traceable. `key` is of the round; `steady`: examples keep their noise."""
        if self.partition.noise is not None:
            noisy = with_steady_noise if steady else with_noise
            work = noisy(work, clamp=self.config.compat == "reference")
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(wave.ids)
        row = Row(rows, wave.facts)
        return run_wave(work, self.mesh, wave.tables, examples, shared, row, keys)


def make_facts(
    cohort: np.ndarray,
    batches: Sequence[Batches],
    weight: Any = 0.0,
    rate: float = 0.0,
    noise: Any = 0.0,
    class_counts: np.ndarray | None = None,
    classes: int = 0,
) -> Facts:
    """Facts [K, ...] of the clients of `cohort`; numbers count for all of them alike."""

    def each(value: Any, dtype: type) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, dtype), len(cohort)).copy()

    last_pass: Any = [part.last_pass for part in batches] if len(batches) else 0
    steps: Any = [len(part.valid) - part.prelude for part in batches] if len(batches) else 0
    counts = np.zeros((len(cohort), classes), np.float32) if class_counts is None else class_counts
    parts = each(weight, np.float32), each(last_pass, np.int32), each(steps, np.int32)
    others = each(rate, np.float32), each(noise, np.float32), counts.astype(np.float32)
    return Facts(*parts, *others)  # type: ignore[arg-type]


def row_bytes(function: Callable[..., tuple[Any, Any]], *arguments: Any) -> int:
    """Bytes of the rows in what `function` makes of one client's: (shared, rows)."""
    return tree.num_bytes(jax.eval_shape(function, *arguments)[1])


def _put(sharding: NamedSharding, arrays: Any) -> Any:
    """Host arrays on the devices; of several processes each holds them whole and fills its own devices."""
    if sharding.is_fully_addressable:
        return jax.device_put(arrays, sharding)

    def place(x: Any) -> jax.Array:  # device_put would compare them between the processes
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, x.__getitem__)

    return jax.tree.map(place, arrays)


def _abstract(sharding: NamedSharding, arrays: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arrays)
