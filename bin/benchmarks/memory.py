"""Peak memory against the cohort's size, and resident memory over many rounds."""

import measuring

measuring.single_threaded_operations()

import workloads

from dp_fedemb.engines import runtime


def main():
    quick = measuring.quick()
    cores = measuring.cores()
    results = {}
    store = workloads.random_store(20_000, 4)
    peaks = {}
    # Largest last: memory that a process once had, it may keep.
    for m in (16, 256 if quick else 1024):
        # A runtime of its own each, so that no worker remembers the other cohort.
        with runtime.LocalRuntime(cores) as local, measuring.PeakMemory() as memory:
            work = workloads.rounds(workloads.lenet(), store, m, 2, local)
            for _ in range(3):
                work()
        peaks[m] = memory.peak
    small, large = peaks.values()
    results['rss_clients_ratio'] = {
        'value': large / small,
        **{f'peak_mib_{m}': peak for m, peak in peaks.items()},
    }
    if not quick:
        results['rss_rounds_ratio'] = _over_rounds(store, cores)
    measuring.report(results)


def _over_rounds(store, cores):
    """Cohorts are Poisson, so their sizes differ in every round."""
    with runtime.LocalRuntime(cores) as local:
        work = workloads.rounds(workloads.lenet(), store, 16, 2, local)
        after = {}
        for round_num in range(1, 301):
            work()
            if round_num in (20, 300):
                after[round_num] = measuring.resident()
    return {
        'value': after[300] / after[20],
        **{f'resident_mib_after_{rounds}': value for rounds, value in after.items()},
    }


if __name__ == '__main__':
    main()
