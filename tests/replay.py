"""A schedule's tables read tick by tick."""


def replay(schedule, layout):
    """What each client sees, by walking the tables as the engine does: {client: [(step, examples)]}."""
    t, seen, done = schedule.tables, {}, []
    for d in range(layout.devices):
        lane_client = [None] * layout.lanes
        for s in range(t.segments[d]):
            for lane in range(layout.lanes):
                client = schedule.position[d * layout.slots + t.slot[d, s, lane]]
                if t.starts[d, s, lane]:
                    assert lane_client[lane] is None
                    lane_client[lane] = client
                    seen[client] = []
                if lane_client[lane] is not None:
                    assert lane_client[lane] == client
                    for tick in range(t.bounds[d, s], t.bounds[d, s + 1]):
                        examples = t.positions[d, tick, lane, : t.valid[d, tick, lane]]
                        seen[client].append((int(t.step[d, tick, lane]), examples.tolist()))
                else:
                    assert not t.valid[d, t.bounds[d, s] : t.bounds[d, s + 1], lane].any()
                if t.ends[d, s, lane]:
                    done.append(client)
                    lane_client[lane] = None
        assert lane_client == [None] * layout.lanes
    return seen, done
