"""Copies what the node's processes know of endpoints. See facts.pyi for the contract."""

cimport cython
from libc.math cimport exp2, isfinite
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from _native.arena cimport FP_NO_ROW, Arena, Ewma, Sample, Word, fp_cell, fp_get, fp_map, fp_put, fp_sample

cdef extern from "arena.h" nogil:
    ctypedef bint fp_bool "bool"

    enum:
        FP_CELLS

    void fp_halves(const uint8_t* id, uint64_t* low, uint64_t* high)
    uint32_t fp_find(const fp_map* map, int region, uint64_t low, uint64_t high)
    uint32_t fp_insert(const fp_map* map, int region, uint64_t low, uint64_t high, fp_bool* made)
    void* fp_at(const fp_map* map, int region, uint32_t row)
    bint fp_read_sample(const fp_sample* sample, uint64_t* stamp, double* values)
    double fp_as_double(uint64_t bits)
    uint64_t fp_as_bits(double value)

cdef uint64_t MIX = 0x9E3779B97F4A7C15
cdef double FRESH = 1.0          # s: a part that was not renewed since then is a dead worker's
cdef double STALE = 5.0          # s: from then on the speed that a sample gave fades
cdef double HALF_LIFE = 5.0      # s
cdef double SAME = 1e-6          # s: two times that are as near are one
cdef double FAR = 3600.0         # s: no probe excludes for longer; the map is not trusted
cdef uint64_t MOST_PART = 0xFFFFFFFF
cdef uint64_t FAILED = 2

PART_FRESH = FRESH
SAMPLE_STALE = STALE
SAMPLE_HALF_LIFE = HALF_LIFE


cdef fp_cell* cell_of(fp_map* map, uint64_t low, uint64_t high, uint32_t worker, bint make) noexcept nogil:
    """Where a worker tells what it has running at an endpoint; NULL when there is no such place."""
    cdef fp_bool made
    cdef uint32_t row
    low ^= (worker + 1) * MIX
    low += low == 0
    row = fp_insert(map, FP_CELLS, low, high, &made) if make else fp_find(map, FP_CELLS, low, high)
    return <fp_cell*> fp_at(map, FP_CELLS, row) if row != FP_NO_ROW else NULL


cdef inline bint is_amount(double value) noexcept nogil:
    return isfinite(value) and value >= 0


@cython.final
cdef class Facts:

    def __init__(self, Arena arena not None, rows):
        cdef fp_fact* row
        cdef Sample sample
        cdef Word probe
        cdef Ewma ttft
        self.arena = arena
        self.handles = []
        self.rows = <fp_fact*> calloc(max(len(rows), 1), sizeof(fp_fact))
        if self.rows == NULL:
            raise MemoryError
        for slot, id, sample_id, probe_id, ttft_id, throughput in rows:
            if len(id) != 16:
                raise ValueError("an id takes 16 bytes")
            sample, probe, ttft = arena.sample(sample_id), arena.word(probe_id), arena.ewma(ttft_id)
            self.handles += (sample, probe, ttft)
            row = &self.rows[self.count]
            row.slot, row.throughput = slot, throughput
            row.sample = sample.row if sample.own == NULL else sample.own
            row.probe, row.ttft, row.ttft_at = probe.cell, ttft.cell, ttft.at
            fp_halves(<bytes> id, &row.low, &row.high)
            row.mine = cell_of(arena.map, row.low, row.high, arena.slot, True) if arena.slot >= 0 else NULL
            self.count += 1

    def __dealloc__(self):
        free(self.rows)
        free(self.others)

    def meet(self, workers):
        cdef list slots = [worker for worker in workers if worker != self.arena.slot]
        cdef uint32_t slot
        cdef uint32_t i, k
        cdef fp_cell** found = <fp_cell**> calloc(max(self.count * len(slots), 1), sizeof(fp_cell*))
        if found == NULL:
            raise MemoryError
        for k in range(<uint32_t> len(slots)):
            slot = slots[k]
            for i in range(self.count):
                found[i * len(slots) + k] = cell_of(self.arena.map, self.rows[i].low, self.rows[i].high, slot, False)
        free(self.others)
        self.others, self.workers = found, len(slots)

    def copy(
        self, int64_t[::1] in_flight, int64_t[::1] in_flight_elsewhere, double[::1] tokens,
        double[::1] tokens_elsewhere, double[::1] queued, double[::1] kv_usage, double[::1] throughput,
        double[::1] sampled_at, double[::1] ttft, double[::1] ttft_at, double[::1] out_until,
        double[::1] ramp_from, double now,
    ):
        cdef uint32_t excluded = 0
        cdef uint32_t i, slot
        cdef fp_fact* row
        cdef double fade = exp2(-(now - self.last) / HALF_LIFE) if now > self.last > 0 else 1.0
        self.last = now
        for i in range(self.count):
            row = &self.rows[i]
            slot = row.slot
            if slot >= <uint32_t> in_flight.shape[0]:
                raise IndexError(f"no slot {slot}")
            tell(row, in_flight[slot], tokens[slot], now)
            gather(self, i, &in_flight_elsewhere[slot], &tokens_elsewhere[slot], now)
            take_sample(row, &queued[slot], &kv_usage[slot], &throughput[slot], &sampled_at[slot], now, fade)
            excluded += take_probe(row, &out_until[slot], &ramp_from[slot], now)
            share_ttft(row, &ttft[slot], &ttft_at[slot], now)
        return excluded

    def withdraw(self):
        cdef uint32_t i
        for i in range(self.count):
            if self.rows[i].mine != NULL:
                fp_put(&self.rows[i].mine.value, 0)


cdef void tell(fp_fact* row, int64_t in_flight, double tokens, double now) noexcept nogil:
    cdef uint64_t attempts, waiting
    if row.mine == NULL:
        return
    attempts = min(<uint64_t> in_flight, MOST_PART) if in_flight > 0 else 0
    waiting = <uint64_t> tokens if 0 < tokens < <double> MOST_PART else (MOST_PART if tokens > 0 else 0)
    fp_put(&row.mine.value, attempts << 32 | waiting)
    fp_put(&row.mine.stamp, <uint64_t> (now * 1e9))


cdef void gather(Facts self, uint32_t i, int64_t* in_flight, double* tokens, double now) noexcept:
    cdef uint32_t k
    cdef uint64_t value
    cdef fp_cell* part
    cdef double at
    in_flight[0] = 0
    tokens[0] = 0.0
    for k in range(self.workers):
        part = self.others[i * self.workers + k]
        if part == NULL:
            continue
        at = <double> fp_get(&part.stamp) * 1e-9
        if -FRESH < now - at < FRESH:
            value = fp_get(&part.value)
            in_flight[0] += <int64_t> (value >> 32)
            tokens[0] += <double> (value & MOST_PART)


cdef void take_sample(
    fp_fact* row, double* queued, double* kv_usage, double* throughput, double* sampled_at, double now, double fade
) noexcept nogil:
    cdef uint64_t stamp
    cdef double values[5]
    cdef double at
    if fp_read_sample(row.sample, &stamp, values):
        at = <double> stamp * 1e-9
        if sampled_at[0] < at < now + FRESH and is_amount(values[0]) and is_amount(values[1]) and is_amount(values[2]):
            queued[0] = values[0]
            kv_usage[0] = min(values[1], 1.0)
            throughput[0] = values[2] if values[2] > 0 else row.throughput
            sampled_at[0] = at
    if sampled_at[0] == 0 or throughput[0] <= 0:
        throughput[0] = row.throughput
    elif now - sampled_at[0] > STALE:
        throughput[0] = row.throughput + (throughput[0] - row.throughput) * fade


cdef bint take_probe(fp_fact* row, double* out_until, double* ramp_from, double now) noexcept nogil:
    cdef uint64_t word = fp_get(row.probe)
    cdef double until = <double> (word >> 16) * 1e-3
    if word & 3 == FAILED and now < until < now + FAR:
        if out_until[0] != row.until:
            row.under = out_until[0]
        if out_until[0] == row.until or out_until[0] < until:
            row.until = out_until[0] = max(until, row.under)
        return True
    if row.until > 0:
        if out_until[0] == row.until:
            out_until[0] = row.under
        if out_until[0] <= now:
            ramp_from[0] = now
        row.until = row.under = 0.0
    return False


cdef void share_ttft(fp_fact* row, double* ttft, double* ttft_at, double now) noexcept nogil:
    """Whoever measured last is believed: everyone goes on from what it says, so all keep one mean."""
    cdef double at = <double> fp_get(row.ttft_at) * 1e-9
    cdef double value
    if ttft_at[0] > at + SAME:
        if is_amount(ttft[0]) and ttft_at[0] < now + FRESH:
            fp_put(row.ttft, fp_as_bits(ttft[0]))
            fp_put(row.ttft_at, <uint64_t> (ttft_at[0] * 1e9))
    elif ttft_at[0] + SAME < at < now + FRESH:
        value = fp_as_double(fp_get(row.ttft))
        if is_amount(value):
            ttft[0], ttft_at[0] = value, at
