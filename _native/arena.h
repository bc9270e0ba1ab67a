/* The arena: one block of memory that the processes of a node share, and every step by which they change it.
 *
 * Owns: the layout, the CAS loops, the checks of what is read from the map. Does not own: files, clocks, who is alive,
 * what a limit means.
 * Concurrency: any number of processes and threads, any of which may be killed between two instructions. There is no
 * lock: every shared field is atomic; half a change is either invisible or is finished by whoever meets it next.
 * Nothing read from the map is trusted: indices and lengths are checked where they are used.
 *
 * FP_CRASH_POINT stands between any two steps that others can see. It is nothing, except in the torture test, which
 * makes the caller die there. */
#ifndef FP_ARENA_H
#define FP_ARENA_H

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef FP_CRASH_POINT
#define FP_CRASH_POINT() ((void)0)
#endif

#define FP_MAGIC UINT64_C(0x616e657261706627) /* 'fparena */
#define FP_LAYOUT 2u
#define FP_LIMITS_LAYOUT 2u
#define FP_LINE 64
#define FP_HEADER_SIZE 4096
#define FP_PROBES 256u
#define FP_NO_ROW UINT32_MAX
#define FP_TEXT 192
#define FP_BINS 1728
#define FP_RANGE (UINT64_C(1) << 32)
#define FP_VALUES 5
#define FP_MOST 8
#define FP_DAYS 6          /* days in one row of a budget */
#define FP_REGION_ROOM 16  /* what follows them in the header stays where it is when there are more */
#define FP_MAX_WORKERS 255u
#define FP_MAX_LEASES (1u << 17)
#define FP_MAX_ROWS (1u << 24)

typedef _Atomic(uint64_t) fp_atomic;
_Static_assert(sizeof(fp_atomic) == 8 && ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must need no lock");

enum {
    FP_WORKERS, FP_LANES, FP_FAMILIES, FP_SERIES, FP_LANE_ROWS, FP_HISTOGRAMS, FP_BUCKETS, FP_LIMITS, FP_LEASES,
    FP_CELLS, FP_SAMPLES, FP_BUDGETS, FP_HOLDS, FP_REGIONS
};
enum { FP_ADMITTED, FP_RATE, FP_SLOTS, FP_FULL, FP_SUPERSEDED, FP_BUDGET };
enum { FP_COUNTER = 1, FP_GAUGE, FP_LANE, FP_HISTOGRAM };

/* -- layout -------------------------------------------------------------------------------------------------------- */

typedef struct { uint64_t offset, stride, rows; } fp_region;

typedef struct {
    uint64_t magic;
    uint32_t layout, limits_layout;
    uint64_t size;
    uint8_t boot[16];
    uint64_t secret_check; /* SipHash of the boot id: another secret would look for rows elsewhere */
    uint64_t family_limit;
    fp_region regions[FP_REGION_ROOM];
    _Alignas(FP_LINE) fp_atomic superseded;
    _Alignas(FP_LINE) fp_atomic refused[FP_REGIONS];
} fp_header;

/* What every row that is found by an id begins with. `low` is claimed first, then `high`: whoever wants the same id
 * completes it, so nobody ever waits for the one who began. A row whose `high` is 0 belongs to no one yet. */
typedef struct { fp_atomic low, high; } fp_key;

typedef struct { _Alignas(FP_LINE) fp_atomic owner; fp_atomic generation; } fp_worker;
typedef struct { _Alignas(FP_LINE) fp_key key; fp_atomic rows; } fp_family;
typedef struct {
    _Alignas(FP_LINE) fp_key key;
    fp_atomic meta; /* 0 until the text is whole; then 1 << 32 | kind << 16 | bytes of text */
    fp_atomic value;
    _Alignas(FP_LINE) fp_atomic text[FP_TEXT / 8];
} fp_row;
typedef struct {
    fp_row head; /* its value is the sum of what was recorded */
    fp_atomic bins[FP_BINS];
} fp_histogram;
typedef struct { _Alignas(FP_LINE) fp_key key; fp_atomic time; } fp_bucket;
typedef struct { _Alignas(FP_LINE) fp_key key; fp_atomic use; } fp_limit;
typedef struct {
    _Alignas(FP_LINE) fp_atomic word;
    fp_atomic expires, n;
    _Atomic(uint32_t) rows[FP_MOST];
} fp_lease;
typedef struct { _Alignas(16) fp_atomic low; fp_atomic high; } fp_pair; /* changes whole: fp_cas_pair */
typedef struct {
    _Alignas(FP_LINE) fp_key key;
    fp_atomic marks;    /* which thresholds were crossed in which period */
    fp_atomic reserved; /* what of the days below runs still; off by one reservation after a kill between two steps */
    fp_pair days[FP_DAYS];
} fp_budget;
typedef struct { /* what the lease of the same row holds of budgets */
    _Alignas(FP_LINE) fp_atomic word;
    fp_atomic n, reserved[2], spent[2];
    _Atomic(uint32_t) days[FP_MOST], periods[FP_MOST];
} fp_hold;
typedef struct { _Alignas(FP_LINE) fp_key key; fp_atomic value, stamp; } fp_cell;
typedef struct { _Alignas(FP_LINE) fp_key key; fp_atomic turn; fp_atomic copies[2][1 + FP_VALUES]; } fp_sample;

_Static_assert(sizeof(fp_header) <= FP_HEADER_SIZE && offsetof(fp_header, regions) == 56, "header");
_Static_assert(FP_REGIONS <= FP_REGION_ROOM, "header");
_Static_assert(offsetof(fp_header, superseded) == 448, "the flag that every admission reads has its own line, and stays");
_Static_assert(sizeof(fp_worker) == 64 && sizeof(fp_family) == 64 && sizeof(fp_cell) == 64, "one line each");
_Static_assert(sizeof(fp_bucket) == 64 && offsetof(fp_bucket, time) == 16, "handed over between layouts");
_Static_assert(sizeof(fp_limit) == 64 && offsetof(fp_limit, use) == 16, "handed over between layouts");
_Static_assert(sizeof(fp_lease) == 64 && offsetof(fp_lease, rows) == 24, "handed over between layouts");
_Static_assert(sizeof(fp_budget) == 128 && offsetof(fp_budget, days) == 32, "handed over between layouts");
_Static_assert(sizeof(fp_hold) == 128 && offsetof(fp_hold, days) == 48, "two lines");
_Static_assert(sizeof(fp_row) == 256 && offsetof(fp_row, text) == 64, "series");
_Static_assert(sizeof(fp_histogram) == 256 + 8 * FP_BINS && sizeof(fp_histogram) % FP_LINE == 0, "histogram");
_Static_assert(sizeof(fp_sample) == 128, "sample");

/* One process's view. What it says of the map was checked once and is not read from the map again. */
typedef struct {
    fp_header *header;
    uint8_t *at[FP_REGIONS];
    uint64_t stride[FP_REGIONS];
    uint32_t rows[FP_REGIONS]; /* tables of series have one more row, for what finds no other */
    uint64_t key[2];
    uint64_t family_limit;
    _Atomic(uint32_t) next_lease; /* where to look first */
} fp_map;

static const uint32_t fp_strides[FP_REGIONS] = {
    sizeof(fp_worker), 0, sizeof(fp_family), sizeof(fp_row), sizeof(fp_row), sizeof(fp_histogram), sizeof(fp_bucket),
    sizeof(fp_limit), sizeof(fp_lease), sizeof(fp_cell), sizeof(fp_sample), sizeof(fp_budget), sizeof(fp_hold),
};

static inline bool fp_rows_fit(int region, uint64_t rows) {
    if (region == FP_WORKERS || region == FP_LANES) return rows >= 1 && rows <= FP_MAX_WORKERS;
    if (rows < 1 || (rows & (rows - 1)) != 0) return false;
    return rows <= (region == FP_LEASES || region == FP_HOLDS ? FP_MAX_LEASES : FP_MAX_ROWS);
}

static inline bool fp_has_spare(int region) {
    return region == FP_SERIES || region == FP_LANE_ROWS || region == FP_HISTOGRAMS;
}

/* Fills in where each region lies; gives the size of the whole, 0 for row counts that cannot be. */
static inline uint64_t fp_plan(fp_region *regions) {
    uint64_t at = FP_HEADER_SIZE;
    regions[FP_LANES].rows = regions[FP_WORKERS].rows;
    regions[FP_HOLDS].rows = regions[FP_LEASES].rows;
    for (int i = 0; i < FP_REGIONS; i++) {
        if (!fp_rows_fit(i, regions[i].rows)) return 0;
        regions[i].stride = i == FP_LANES ? (8 * (regions[FP_LANE_ROWS].rows + 1) + 63) / 64 * 64 : fp_strides[i];
        regions[i].offset = at;
        at += regions[i].stride * (regions[i].rows + (fp_has_spare(i) ? 1 : 0));
    }
    return at;
}

static inline void *fp_at(const fp_map *map, int region, uint32_t row) {
    return map->at[region] + map->stride[region] * row;
}

static inline fp_worker *fp_worker_at(const fp_map *map, uint32_t row) { return fp_at(map, FP_WORKERS, row); }
static inline fp_lease *fp_lease_at(const fp_map *map, uint32_t row) { return fp_at(map, FP_LEASES, row); }
static inline fp_limit *fp_limit_at(const fp_map *map, uint32_t row) { return fp_at(map, FP_LIMITS, row); }
static inline fp_bucket *fp_bucket_at(const fp_map *map, uint32_t row) { return fp_at(map, FP_BUCKETS, row); }
static inline fp_budget *fp_budget_at(const fp_map *map, uint32_t row) { return fp_at(map, FP_BUDGETS, row); }
static inline fp_hold *fp_hold_at(const fp_map *map, uint32_t row) { return fp_at(map, FP_HOLDS, row); }
static inline fp_atomic *fp_lane_at(const fp_map *map, uint32_t worker, uint32_t lane) {
    return (fp_atomic *)fp_at(map, FP_LANES, worker) + lane;
}

/* -- words --------------------------------------------------------------------------------------------------------- */

static inline uint64_t fp_load(const fp_atomic *word) {
    return atomic_load_explicit((fp_atomic *)word, memory_order_acquire);
}

static inline void fp_store(fp_atomic *word, uint64_t value) {
    FP_CRASH_POINT();
    atomic_store_explicit(word, value, memory_order_release);
}

static inline bool fp_cas(fp_atomic *word, uint64_t *expected, uint64_t value) {
    FP_CRASH_POINT();
    return atomic_compare_exchange_strong(word, expected, value);
}

static inline uint64_t fp_get(fp_atomic *word) { return fp_load(word); }
static inline void fp_put(fp_atomic *word, uint64_t value) { fp_store(word, value); }
static inline bool fp_swap(fp_atomic *word, uint64_t expected, uint64_t value) {
    return fp_cas(word, &expected, value);
}

static inline void fp_add(fp_atomic *word, uint64_t n) {
    atomic_fetch_add_explicit(word, n, memory_order_relaxed);
}

static inline double fp_as_double(uint64_t bits) { double value; memcpy(&value, &bits, 8); return value; }
static inline uint64_t fp_as_bits(double value) { uint64_t bits; memcpy(&bits, &value, 8); return bits; }
static inline void fp_set_double(fp_atomic *word, double value) { fp_store(word, fp_as_bits(value)); }
static inline double fp_get_double(fp_atomic *word) { return fp_as_double(fp_load(word)); }
static inline void fp_add_double(fp_atomic *word, double delta) {
    uint64_t bits = fp_load(word);
    while (!fp_cas(word, &bits, fp_as_bits(fp_as_double(bits) + delta))) {}
}

typedef struct { uint64_t low, high; } fp_seen;

/* Both halves as they once were together: a high half never comes again after it changed. */
static inline fp_seen fp_look_pair(const fp_pair *pair) {
    for (uint64_t high = fp_load(&pair->high);;) {
        fp_seen seen = {fp_load(&pair->low), high};
        high = fp_load(&pair->high);
        if (high == seen.high) return seen;
    }
}

/* Changes both halves or neither. Compilers offer this only through libatomic, whose fall-back is a lock. */
static inline bool fp_cas_pair(fp_pair *pair, fp_seen expected, fp_seen after) {
    FP_CRASH_POINT();
#if defined(__x86_64__)
    bool done;
    __asm__ __volatile__("lock cmpxchg16b %1"
                         : "=@ccz"(done), "+m"(*pair), "+a"(expected.low), "+d"(expected.high)
                         : "b"(after.low), "c"(after.high)
                         : "memory");
    return done;
#elif defined(__aarch64__)
    uint64_t low, high;
    uint32_t failed;
    __asm__ __volatile__("1: ldaxp %[low], %[high], %[pair]\n"
                         "cmp %[low], %[was_low]\n"
                         "ccmp %[high], %[was_high], #0, eq\n"
                         "b.ne 2f\n"
                         "stlxp %w[failed], %[to_low], %[to_high], %[pair]\n"
                         "cbnz %w[failed], 1b\n"
                         "b 3f\n"
                         "2: clrex\n"
                         "mov %w[failed], #1\n"
                         "3:"
                         : [low] "=&r"(low), [high] "=&r"(high), [failed] "=&r"(failed), [pair] "+Q"(*pair)
                         : [was_low] "r"(expected.low), [was_high] "r"(expected.high), [to_low] "r"(after.low),
                           [to_high] "r"(after.high)
                         : "cc", "memory");
    return failed == 0;
#else
#error "budgets need a compare-and-swap of 16 bytes: say here how this machine does it"
#endif
}

static inline bool fp_is_superseded(const fp_map *map) { return atomic_load(&map->header->superseded) != 0; }

/* -- finding rows -------------------------------------------------------------------------------------------------- */

#define FP_ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
static inline void fp_sip_round(uint64_t v[4]) {
    v[0] += v[1]; v[1] = FP_ROTATE(v[1], 13) ^ v[0]; v[0] = FP_ROTATE(v[0], 32);
    v[2] += v[3]; v[3] = FP_ROTATE(v[3], 16) ^ v[2];
    v[0] += v[3]; v[3] = FP_ROTATE(v[3], 21) ^ v[0];
    v[2] += v[1]; v[1] = FP_ROTATE(v[1], 17) ^ v[2]; v[2] = FP_ROTATE(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012) of 16 bytes. */
static inline uint64_t fp_siphash(const uint64_t key[2], uint64_t low, uint64_t high) {
    const uint64_t words[3] = {low, high, UINT64_C(16) << 56};
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    for (int i = 0; i < 3; i++) {
        v[3] ^= words[i]; fp_sip_round(v); fp_sip_round(v); v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) fp_sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The halves of an id as rows hold them: never 0, which means that nobody claimed the row. */
static inline void fp_halves(const uint8_t id[16], uint64_t *low, uint64_t *high) {
    memcpy(low, id, 8);
    memcpy(high, id + 8, 8);
    *low += *low == 0;
    *high += *high == 0;
}

static inline uint32_t fp_probes(const fp_map *map, int region) {
    return map->rows[region] < FP_PROBES ? map->rows[region] : FP_PROBES;
}

/* The row of an id, FP_NO_ROW when it has none. Never waits, never writes. */
static inline uint32_t fp_find(const fp_map *map, int region, uint64_t low, uint64_t high) {
    uint32_t start = (uint32_t)fp_siphash(map->key, low, high);
    for (uint32_t i = 0; i < fp_probes(map, region); i++) {
        uint32_t row = (start + i) & (map->rows[region] - 1);
        const fp_key *key = fp_at(map, region, row);
        uint64_t have = fp_load(&key->low);
        if (have == 0) return FP_NO_ROW;
        if (have == low && fp_load(&key->high) == high) return row;
    }
    return FP_NO_ROW;
}

/* The row of an id, claimed when it had none; FP_NO_ROW when there is no room. All who want one id pass the same rows
 * in the same order and rows are never given up, so an id never gets two. */
static inline uint32_t fp_insert(const fp_map *map, int region, uint64_t low, uint64_t high, bool *made) {
    uint32_t start = (uint32_t)fp_siphash(map->key, low, high);
    *made = false;
    for (uint32_t i = 0; i < fp_probes(map, region); i++) {
        uint32_t row = (start + i) & (map->rows[region] - 1);
        fp_key *key = fp_at(map, region, row);
        uint64_t have = fp_load(&key->low);
        bool mine = false;
        if (have == 0 && fp_cas(&key->low, &have, low)) {
            mine = true;
            have = low;
        }
        if (have != low) continue;
        uint64_t rest = fp_load(&key->high);
        if (rest == 0 && fp_cas(&key->high, &rest, high)) rest = high;
        *made = mine;
        if (rest == high) return row;
    }
    fp_add(&map->header->refused[region], 1);
    return FP_NO_ROW;
}

/* -- series -------------------------------------------------------------------------------------------------------- */

static inline uint32_t fp_kind(uint64_t meta) { return (uint32_t)(meta >> 16) & 0xffff; }

/* Bytes of a row's text, 0 for a row that is not published or is damaged. `meta` says which. */
static inline uint32_t fp_text(const fp_row *row, uint8_t text[FP_TEXT], uint64_t *meta) {
    *meta = fp_load(&row->meta);
    uint32_t size = (uint32_t)*meta & 0xffff;
    if (*meta >> 32 != 1 || size > FP_TEXT) return 0;
    for (uint32_t i = 0; 8 * i < size; i++) {
        uint64_t word = atomic_load_explicit((fp_atomic *)&row->text[i], memory_order_relaxed);
        memcpy(text + 8 * i, &word, 8);
    }
    return size;
}

/* Makes a claimed row readable; gives its kind. The id is a hash of the text, so all who do this write the same. */
static inline uint32_t fp_publish(fp_row *row, uint32_t kind, const uint8_t *text, uint32_t size) {
    uint64_t meta = fp_load(&row->meta);
    if (meta != 0) return fp_kind(meta);
    for (uint32_t i = 0; 8 * i < size; i++) {
        uint64_t word = 0;
        memcpy(&word, text + 8 * i, size - 8 * i < 8 ? size - 8 * i : 8);
        FP_CRASH_POINT();
        atomic_store_explicit(&row->text[i], word, memory_order_relaxed);
    }
    return fp_cas(&row->meta, &meta, UINT64_C(1) << 32 | kind << 16 | size) ? kind : fp_kind(meta);
}

/* The row of a series, made when its family (a row, or FP_NO_ROW: not counted) may have another; else FP_NO_ROW.
 * A process killed in here may leave its family one series poorer. */
static inline uint32_t fp_series_row(const fp_map *map, int region, uint32_t family, uint64_t low, uint64_t high) {
    bool made = false;
    uint32_t row = fp_find(map, region, low, high);
    if (row != FP_NO_ROW) return row;
    fp_family *counted = family < map->rows[FP_FAMILIES] ? fp_at(map, FP_FAMILIES, family) : NULL;
    FP_CRASH_POINT();
    if (counted && atomic_fetch_add(&counted->rows, 1) >= map->family_limit) {
        fp_add(&map->header->refused[FP_FAMILIES], 1);
    } else {
        row = fp_insert(map, region, low, high, &made);
    }
    FP_CRASH_POINT();
    if (counted && !made) atomic_fetch_sub(&counted->rows, 1);
    return row;
}

/* -- histograms: 64 bins per octave, single values below 128 ------------------------------------------------------- */

static inline uint32_t fp_bin(uint64_t value) {
    if (value >= FP_RANGE) value = FP_RANGE - 1;
    if (value < 128) return (uint32_t)value;
    uint32_t shift = 57 - (uint32_t)__builtin_clzll(value);
    return (shift << 6) + (uint32_t)(value >> shift);
}

static inline double fp_bin_middle(uint32_t bin) {
    if (bin < 128) return bin;
    uint32_t shift = (bin >> 6) - 1;
    uint64_t low = (uint64_t)(64 + (bin & 63)) << shift;
    return (double)low + (double)((UINT64_C(1) << shift) - 1) / 2;
}

static inline void fp_record(fp_histogram *row, uint64_t value) {
    fp_add(&row->bins[fp_bin(value)], 1);
    fp_add(&row->head.value, value);
}

/* Copies the bins; gives their sum. */
static inline uint64_t fp_copy_bins(const fp_histogram *row, uint64_t bins[FP_BINS]) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < FP_BINS; i++) {
        bins[i] = atomic_load_explicit((fp_atomic *)&row->bins[i], memory_order_relaxed);
        count += bins[i];
    }
    return count;
}

/* -- workers: owner = start time << 24 | pid << 2 | state ---------------------------------------------------------- */

enum { FP_JOINING = 1, FP_JOINED = 2 };
#define FP_GENERATION UINT64_C(0x3fff)

static inline uint64_t fp_owner(uint64_t pid, uint64_t start) {
    return (start & ((UINT64_C(1) << 40) - 1)) << 24 | (pid & 0x3fffff) << 2;
}
static inline uint32_t fp_owner_pid(uint64_t owner) { return (uint32_t)(owner >> 2) & 0x3fffff; }
static inline uint64_t fp_owner_start(uint64_t owner) { return owner >> 24; }

/* Takes a slot: clears its lanes, then shows it. Until it is shown nobody counts the lanes, and only their owner ever
 * writes them: freeing a dead worker's slot is one CAS. Gives the slot and who owns its leases, or FP_NO_ROW. */
static inline uint32_t fp_join(const fp_map *map, uint64_t owner, uint64_t *me) {
    for (uint32_t slot = 0; slot < map->rows[FP_WORKERS]; slot++) {
        fp_worker *worker = fp_worker_at(map, slot);
        uint64_t free = 0;
        if (fp_load(&worker->owner) != 0 || !fp_cas(&worker->owner, &free, owner | FP_JOINING)) continue;
        uint64_t generation = (fp_load(&worker->generation) + 1) & FP_GENERATION;
        fp_store(&worker->generation, generation);
        for (uint64_t lane = 0; 8 * lane < map->stride[FP_LANES]; lane++) {
            fp_store(fp_lane_at(map, slot, (uint32_t)lane), 0);
        }
        *me = generation << 50 | (uint64_t)slot << 42;
        fp_store(&worker->owner, owner | FP_JOINED);
        return slot;
    }
    fp_add(&map->header->refused[FP_WORKERS], 1);
    return FP_NO_ROW;
}

/* Whether the worker that a lease word names is still joined. */
static inline bool fp_is_joined(const fp_map *map, uint64_t word) {
    uint32_t slot = (uint32_t)(word >> 42) & 0xff;
    if (slot >= map->rows[FP_WORKERS]) return false;
    const fp_worker *worker = fp_worker_at(map, slot);
    return (fp_load(&worker->owner) & 3) == FP_JOINED && fp_load(&worker->generation) == word >> 50;
}

/* Sum of a lane over all joined workers. */
static inline int64_t fp_lane_sum(const fp_map *map, uint32_t lane) {
    uint64_t sum = 0;
    for (uint32_t slot = 0; slot < map->rows[FP_WORKERS]; slot++) {
        const fp_worker *worker = fp_worker_at(map, slot);
        uint64_t owner = fp_load(&worker->owner);
        uint64_t part = fp_load(fp_lane_at(map, slot, lane));
        if ((owner & 3) == FP_JOINED && fp_load(&worker->owner) == owner) sum += part;
    }
    return (int64_t)sum;
}

/* -- places: what a lease holds of one limit or budget, 2 bits each, only ever onwards ------------------------------- */

enum { FP_UNTOUCHED, FP_TAKEN, FP_GIVEN_BACK };
#define FP_USES UINT64_C(0x7fffff)

static inline uint32_t fp_place(uint64_t word, uint32_t place) { return (uint32_t)(word >> 2 * place) & 3; }
static inline uint64_t fp_with_place(uint64_t word, uint32_t place, uint64_t state) {
    return (word & ~(UINT64_C(3) << 2 * place)) | state << 2 * place;
}

/* -- load ---------------------------------------------------------------------------------------------------------- */

/* Peak EWMA. The stamp moves first, so each span of time weighs once whoever applies it; a process killed between the
 * two loses one sample. */
static inline double fp_ewma(fp_atomic *value, fp_atomic *stamp, int64_t now, double sample, int64_t tau) {
    uint64_t last = fp_load(stamp), bits = fp_load(value);
    if (!(sample >= 0) || !isfinite(sample) || now <= 0) return fp_as_double(bits);
    while ((uint64_t)now > last && !fp_cas(stamp, &last, (uint64_t)now)) {}
    double span = (uint64_t)now > last ? (double)((uint64_t)now - last) : 0.0;
    double keep = last == 0 || tau <= 0 ? 0.0 : exp(-span / (double)tau);
    double mean;
    do {
        mean = fp_as_double(bits);
        bool usable = mean >= 0 && isfinite(mean) && sample <= mean;
        mean = usable ? mean * keep + sample * (1.0 - keep) : sample;
    } while (!fp_cas(value, &bits, fp_as_bits(mean)));
    return mean;
}

/* Two copies, of which `turn` names the whole one: a writer that dies leaves the older sample. One writer at a time. */
static inline void fp_write_sample(fp_sample *sample, uint64_t stamp, const double values[FP_VALUES]) {
    uint64_t turn = fp_load(&sample->turn) + 1;
    fp_atomic *copy = sample->copies[turn & 1];
    fp_store(&copy[0], stamp);
    for (int i = 0; i < FP_VALUES; i++) {
        fp_store(&copy[1 + i], fp_as_bits(values[i]));
    }
    fp_store(&sample->turn, turn);
}

static inline bool fp_read_sample(const fp_sample *sample, uint64_t *stamp, double values[FP_VALUES]) {
    for (int attempt = 0; attempt < 4; attempt++) {
        uint64_t turn = fp_load(&sample->turn);
        if (turn == 0) return false;
        const fp_atomic *copy = sample->copies[turn & 1];
        *stamp = fp_load(&copy[0]);
        for (int i = 0; i < FP_VALUES; i++) values[i] = fp_as_double(fp_load(&copy[1 + i]));
        if (fp_load(&sample->turn) == turn) return true;
    }
    return false;
}

/* -- opening ------------------------------------------------------------------------------------------------------- */

static inline uint64_t fp_secret_check(const uint64_t key[2], const uint8_t boot[16]) {
    uint64_t halves[2];
    memcpy(halves, boot, 16);
    return fp_siphash(key, halves[0], halves[1]);
}

static inline void fp_see(fp_map *map, void *base, const fp_region *regions, const uint8_t secret[16]) {
    memset(map, 0, sizeof *map);
    map->header = base;
    memcpy(map->key, secret, 16);
    for (int i = 0; i < FP_REGIONS; i++) {
        map->at[i] = (uint8_t *)base + regions[i].offset;
        map->stride[i] = regions[i].stride;
        map->rows[i] = (uint32_t)regions[i].rows;
    }
}

/* Lays a map out over zeroed memory; `regions` come from fp_plan, `size` is what it gave. */
static inline void fp_format(fp_map *map, void *base, const fp_region *regions, uint64_t size, uint64_t family_limit,
                             const uint8_t secret[16], const uint8_t boot[16]) {
    fp_header *header = base;
    fp_see(map, base, regions, secret);
    map->family_limit = header->family_limit = family_limit;
    header->layout = FP_LAYOUT;
    header->limits_layout = FP_LIMITS_LAYOUT;
    header->size = size;
    memcpy(header->boot, boot, 16);
    memcpy(header->regions, regions, FP_REGIONS * sizeof *regions);
    header->secret_check = fp_secret_check(map->key, boot);
    header->magic = FP_MAGIC;
}

/* What every map must say of itself, whatever its layout; NULL when it does. */
static inline const char *fp_distrust(const fp_header *header, uint64_t size, const uint64_t key[2],
                                      const uint8_t boot[16]) {
    if (size < FP_HEADER_SIZE || header->magic != FP_MAGIC) return "it is not an arena";
    if (memcmp(header->boot, boot, 16) != 0) return "it is from another boot";
    if (header->secret_check != fp_secret_check(key, boot)) return "it was made under another install secret";
    if (header->size > size) return "it is cut short";
    return NULL;
}

/* Sees a map of this layout; NULL, or why it cannot be used. */
static inline const char *fp_attach(fp_map *map, void *base, uint64_t size, const uint8_t secret[16],
                                    const uint8_t boot[16]) {
    fp_header copy; /* so that what is checked is what is used */
    fp_region plan[FP_REGIONS];
    uint64_t key[2];
    if (size < FP_HEADER_SIZE) return "it is not an arena";
    memcpy(&copy, base, sizeof copy);
    memcpy(key, secret, 16);
    const char *reason = fp_distrust(&copy, size, key, boot);
    if (reason != NULL) return reason;
    if (copy.layout != FP_LAYOUT || copy.limits_layout != FP_LIMITS_LAYOUT) return "it has another layout";
    memcpy(plan, copy.regions, sizeof plan);
    uint64_t needed = fp_plan(plan);
    bool sound = needed != 0 && needed == copy.size && memcmp(plan, copy.regions, sizeof plan) == 0;
    if (!sound) return "its header is damaged";
    fp_see(map, base, plan, secret);
    map->family_limit = copy.family_limit;
    return NULL;
}

#include "arena_budgets.h"
#include "arena_limits.h"

#endif
