"""The virtual clock as a plain loop: one client after the other, one local step after the other."""


def seconds_of(examples, batch, unit, speed, down, up, traffic, steps, share, whole):
    """Seconds of a client that does `steps`, where its share is `share` of `whole` local steps."""
    took = [min(batch, examples - start) for start in range(0, examples, batch)]  # in the steps of a pass
    work = [took[step % len(took)] if unit == "examples" else 1 for step in range(whole)]
    slow = sum(work) / sum(work[:share])  # a straggler's device is busy with something else
    return traffic[0] / down + sum(work[:steps]) * slow / speed + traffic[1] / up


def one_round(clients, asked, takes, clock, traffic, batch):
    """({client: local steps} of those that are kept, seconds of the round).

    clients: {client: (examples, speed, down, up)} of those that do not drop out, with {client: (its share of
    the steps, all of them)} in `asked`, whose length is that of the cohort with those that drop out.
    """
    returned = []
    for client, (examples, speed, down, up) in clients.items():
        share, whole = asked[client]
        for steps in range(share, 0, -1):
            about = examples, batch, clock.unit, speed, down, up, traffic
            seconds = seconds_of(*about, steps, share, whole)
            if clock.deadline is None or seconds <= clock.deadline:
                returned.append((seconds, client, steps))
                break
            if clock.late == "drop":
                break
    returned = sorted(returned)[:takes]
    everybody = min(takes, len(asked))
    if clock.deadline is not None and len(returned) < everybody:
        lasts = clock.deadline
    else:
        lasts = max((seconds for seconds, *_ in returned), default=0.0)
    return {client: steps for _, client, steps in returned}, lasts
