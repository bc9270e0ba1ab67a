/* Limits in the arena: GCRA buckets, concurrency limits with leases, all-or-nothing admission, and how a newer map
 * takes them over. Included by arena.h, whose head says what holds here too.
 *
 * Its rows (fp_worker, fp_bucket, fp_limit, fp_lease, fp_budget) outlive a change of the rest of the layout: change one of them,
 * and FP_LIMITS_LAYOUT must change. */
#ifndef FP_ARENA_LIMITS_H
#define FP_ARENA_LIMITS_H

#include "arena.h"

/* -- rates: GCRA as a virtual scheduling algorithm (ITU-T I.371) --------------------------------------------------- */

#define FP_FAR (INT64_C(1) << 61)
/* What a damaged or overcharged bucket may owe beyond its depth: 39 hours. It heals instead of refusing forever. */
#define FP_MOST_DEBT (INT64_C(1) << 47)

/* A unit costs period / per ns; per 0 is 1. A node's part of a limit that several nodes share has a `depth` (0: that of the
 * burst): it is less than the burst, so a cost beyond it passes a bucket that owes nothing, and is paid off afterwards.
 * Its `meter` counts the units that were admitted (value) and refused (stamp). */
typedef struct { uint32_t row; int64_t period, burst, per, depth; fp_cell *meter; } fp_rate;

static inline int64_t fp_times(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) || product > FP_FAR ? FP_FAR : product;
}

static inline int64_t fp_clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

static inline int64_t fp_debt(uint64_t time, int64_t now, int64_t depth) {
    int64_t due = (int64_t)time;
    return due <= now ? 0 : fp_clamp(due - now, 0, depth + FP_MOST_DEBT);
}

/* What so many units cost in ns, rounded up. */
static inline int64_t fp_span(fp_rate rate, int64_t units) {
    if (rate.per <= 1) return fp_times(units, rate.period);
    uint64_t product;
    bool fits = !__builtin_mul_overflow((uint64_t)units, (uint64_t)rate.period, &product) &&
                !__builtin_add_overflow(product, (uint64_t)rate.per - 1, &product);
    product = fits ? product / (uint64_t)rate.per : 0;
    if (fits) return product > (uint64_t)FP_FAR ? FP_FAR : (int64_t)product;
    __extension__ const unsigned __int128 span =
        ((unsigned __int128)(uint64_t)units * (uint64_t)rate.period + (uint64_t)rate.per - 1) / (uint64_t)rate.per;
    return span > (uint64_t)FP_FAR ? FP_FAR : (int64_t)span;
}

/* How many units so much room is. */
static inline int64_t fp_units(fp_rate rate, int64_t room) {
    if (room <= 0) return 0;
    if (rate.per <= 1) return room / rate.period;
    uint64_t product;
    if (!__builtin_mul_overflow((uint64_t)room, (uint64_t)rate.per, &product)) {
        product /= (uint64_t)rate.period;
        return product > (uint64_t)FP_FAR ? FP_FAR : (int64_t)product;
    }
    __extension__ const unsigned __int128 units = (unsigned __int128)(uint64_t)room * (uint64_t)rate.per;
    const uint64_t period = (uint64_t)rate.period;
    return units / period > (uint64_t)FP_FAR ? FP_FAR : (int64_t)(units / period);
}

typedef struct { bool admitted; int64_t retry_after, left; } fp_taken;

static inline int64_t fp_depth(fp_rate rate) { return rate.depth > 0 ? rate.depth : fp_span(rate, rate.burst); }

/* Charges `cost`, or only looks. retry_after: 0 when it passes, -1 when it never will. */
static inline fp_taken fp_take(fp_bucket *bucket, fp_rate rate, int64_t now, int64_t cost, bool look) {
    int64_t depth = fp_depth(rate), need = fp_span(rate, cost);
    uint64_t time = fp_load(&bucket->time);
    now = fp_clamp(now, 0, FP_FAR);
    need = need < 0 ? 0 : need;
    for (;;) {
        int64_t debt = fp_debt(time, now, depth);
        int64_t room = depth - debt;
        int64_t fit = rate.depth > 0 && need > depth ? depth : need;
        if (fit > depth || cost > rate.burst) return (fp_taken){false, -1, fp_units(rate, room)};
        if (fit > room) return (fp_taken){false, fit - room, fp_units(rate, room)};
        fp_taken taken = {true, 0, fp_units(rate, room - need)};
        if (look || need == 0 || fp_cas(&bucket->time, &time, (uint64_t)(now + debt + need))) return taken;
    }
}

/* How long until a bucket is full again. */
static inline int64_t fp_owed(const fp_bucket *bucket, fp_rate rate, int64_t now) {
    return fp_debt(fp_load(&bucket->time), fp_clamp(now, 0, FP_FAR), fp_depth(rate));
}

/* Charges (or with a negative cost gives back) whatever the bucket holds. */
static inline void fp_correct(fp_bucket *bucket, int64_t now, int64_t cost, fp_rate rate) {
    int64_t need = fp_span(rate, cost < 0 ? -cost : cost);
    uint64_t time = fp_load(&bucket->time), after;
    now = fp_clamp(now, 0, FP_FAR);
    do {
        int64_t debt = fp_debt(time, now, FP_FAR);
        after = (uint64_t)(now + (cost < 0 ? (debt > need ? debt - need : 0) : fp_clamp(debt + need, 0, FP_FAR)));
    } while (!fp_cas(&bucket->time, &time, after));
}

/* -- concurrency: limits and leases -------------------------------------------------------------------------------- *
 *
 * A limit's word carries its count and a note of the last change: which place of which use of which lease, and whether
 * it was taken or given back. Whoever changes the word next first writes that note into the lease's own word, where a
 * place goes untouched -> taken -> given back and never back. So at any moment a change is either in its lease or in
 * the note, however the one who made it ended, and anyone can finish a release: a place that is taken is counted once,
 * and given back once. (No word of a limit ever comes again: its note names a step that happens once per use. A use's
 * number wraps after 8 million.)
 *
 * limit  use  : count 20 | lease 17 | place 3 | given back 1 | use 23
 * lease  word : places 8 x 2 | phase 3 | use 23 | worker 8 | generation 14 */

enum { FP_FREE, FP_CLAIMED, FP_ACQUIRING, FP_HELD, FP_RELEASING };

#define FP_COUNT UINT64_C(0xfffff)

typedef struct { uint32_t row, most; } fp_slot;

static inline uint32_t fp_phase(uint64_t word) { return (uint32_t)(word >> 16) & 7; }
static inline uint32_t fp_use(uint64_t word) { return (uint32_t)((word >> 19) & FP_USES); }
static inline uint64_t fp_with_phase(uint64_t word, uint64_t phase) {
    return (word & ~(UINT64_C(7) << 16)) | phase << 16;
}
static inline uint64_t fp_note(uint64_t count, uint32_t lease, uint32_t place, uint64_t given_back, uint32_t use) {
    return count | (uint64_t)lease << 20 | (uint64_t)place << 37 | given_back << 40 | (uint64_t)use << 41;
}

/* Writes the note of a limit's word into the lease it names. */
static inline void fp_settle_note(const fp_map *map, uint64_t note) {
    uint32_t row = (uint32_t)(note >> 20) & (FP_MAX_LEASES - 1), place = (uint32_t)(note >> 37) & 7;
    uint32_t use = (uint32_t)(note >> 41), before = (note >> 40 & 1) ? FP_TAKEN : FP_UNTOUCHED;
    if (use == 0 || row >= map->rows[FP_LEASES]) return;
    fp_lease *lease = fp_lease_at(map, row);
    uint64_t word = fp_load(&lease->word);
    while (fp_use(word) == use && fp_phase(word) >= FP_ACQUIRING && fp_place(word, place) == before) {
        if (fp_cas(&lease->word, &word, fp_with_place(word, place, before + 1))) return;
    }
}

/* Takes one place of a lease that this caller is acquiring; false when the limit is reached. */
static inline bool fp_take_place(const fp_map *map, uint32_t row, uint32_t use, uint32_t place, fp_slot slot) {
    fp_limit *limit = fp_limit_at(map, slot.row);
    uint64_t note = fp_load(&limit->use);
    do {
        fp_settle_note(map, note);
        if ((note & FP_COUNT) >= slot.most || (note & FP_COUNT) == FP_COUNT) return false;
    } while (!fp_cas(&limit->use, &note, fp_note((note & FP_COUNT) + 1, row, place, 0, use)));
    fp_settle_note(map, fp_note(0, row, place, 0, use));
    return true;
}

/* Gives one place back if it is taken and nobody did yet. Safe for any number of callers at once. */
static inline void fp_give_place(const fp_map *map, uint32_t row, uint32_t use, uint32_t place) {
    fp_lease *lease = fp_lease_at(map, row);
    uint32_t limit_row = atomic_load_explicit(&lease->rows[place], memory_order_acquire);
    if (limit_row >= map->rows[FP_LIMITS]) return;
    fp_limit *limit = fp_limit_at(map, limit_row);
    for (uint64_t note = fp_load(&limit->use);;) {
        fp_settle_note(map, note);
        uint64_t word = fp_load(&lease->word);
        if (fp_use(word) != use || fp_place(word, place) != FP_TAKEN) return;
        uint64_t count = note & FP_COUNT;
        uint64_t after = fp_note(count - (count > 0), row, place, 1, use);
        if (after == note) return; /* only in a damaged map: the note was settled and the place is still taken */
        if (fp_cas(&limit->use, &note, after)) note = after;
    }
}

/* Gives back what a releasing lease still holds, and frees it. Safe for any number of callers at once. */
static inline void fp_finish_release(const fp_map *map, uint32_t row, uint32_t use) {
    fp_lease *lease = fp_lease_at(map, row);
    uint64_t n = fp_load(&lease->n);
    for (uint32_t place = 0; place < n && place < FP_MOST; place++) fp_give_place(map, row, use, place);
    fp_give_budgets(map, row, use);
    uint64_t word = fp_load(&lease->word);
    while (fp_use(word) == use && fp_phase(word) == FP_RELEASING) {
        if (fp_cas(&lease->word, &word, (uint64_t)use << 19)) return;
    }
}

/* Gives a lease back from one of the phases `from` (a bit each); false when it was not in one, or in another use. */
static inline bool fp_release(fp_map *map, uint32_t row, uint32_t use, uint32_t from) {
    if (row >= map->rows[FP_LEASES]) return false;
    fp_lease *lease = fp_lease_at(map, row);
    uint64_t word = fp_load(&lease->word);
    do {
        if (fp_use(word) != use || (from >> fp_phase(word) & 1) == 0) return false;
    } while (!fp_cas(&lease->word, &word, fp_with_phase(word, FP_RELEASING)));
    fp_finish_release(map, row, use);
    atomic_store_explicit(&map->next_lease, row, memory_order_relaxed);
    return true;
}

/* A free row, claimed for `me` (as fp_join gave it) and a new use; FP_NO_ROW when all are taken. */
static inline uint32_t fp_claim_lease(fp_map *map, uint64_t me, uint32_t *use) {
    uint32_t start = atomic_load_explicit(&map->next_lease, memory_order_relaxed);
    for (uint32_t i = 0; i < map->rows[FP_LEASES]; i++) {
        uint32_t row = (start + i) & (map->rows[FP_LEASES] - 1);
        fp_lease *lease = fp_lease_at(map, row);
        uint64_t word = fp_load(&lease->word);
        if (fp_phase(word) != FP_FREE) continue;
        *use = fp_use(word) == FP_USES ? 1 : fp_use(word) + 1;
        if (!fp_cas(&lease->word, &word, me | (uint64_t)*use << 19 | (uint64_t)FP_CLAIMED << 16)) continue;
        atomic_store_explicit(&map->next_lease, row + 1, memory_order_relaxed);
        return row;
    }
    fp_add(&map->header->refused[FP_LEASES], 1);
    return FP_NO_ROW;
}

/* Writes what a claimed lease is to hold, for whoever may have to undo it, before anything is taken. */
static inline void fp_declare(const fp_map *map, uint32_t row, const fp_slot *slots, int n, int64_t expires) {
    fp_lease *lease = fp_lease_at(map, row);
    for (int i = 0; i < n; i++) atomic_store_explicit(&lease->rows[i], slots[i].row, memory_order_relaxed);
    fp_store(&lease->expires, (uint64_t)expires);
    fp_store(&lease->n, (uint64_t)n);
    fp_store(&lease->word, fp_with_phase(fp_load(&lease->word), FP_ACQUIRING));
}

/* From acquiring to held; false when someone ended the lease meanwhile (only in a damaged map). */
static inline bool fp_keep(const fp_map *map, uint32_t row, uint32_t use) {
    fp_lease *lease = fp_lease_at(map, row);
    uint64_t word = fp_load(&lease->word);
    do {
        if (fp_use(word) != use || fp_phase(word) != FP_ACQUIRING) return false;
    } while (!fp_cas(&lease->word, &word, fp_with_phase(word, FP_HELD)));
    return true;
}

/* Ends the leases of workers that are gone, those that expired, and those that someone began to release. */
static inline uint64_t fp_reap_leases(fp_map *map, int64_t now) {
    uint64_t ended = 0;
    for (uint32_t row = 0; row < map->rows[FP_LEASES]; row++) {
        fp_lease *lease = fp_lease_at(map, row);
        uint64_t word = fp_load(&lease->word);
        uint32_t phase = fp_phase(word), use = fp_use(word);
        if (phase == FP_FREE) continue;
        bool orphan = !fp_is_joined(map, word);
        bool expired = phase == FP_HELD && (int64_t)fp_load(&lease->expires) <= now;
        if (phase == FP_RELEASING) {
            fp_finish_release(map, row, use);
        } else if ((orphan && phase == FP_CLAIMED) || phase > FP_RELEASING) {
            fp_cas(&lease->word, &word, (uint64_t)use << 19); /* nothing was taken yet, or the map is damaged */
        } else if (orphan || expired) {
            ended += fp_release(map, row, use, expired ? 1u << FP_HELD : 1u << FP_ACQUIRING | 1u << FP_HELD);
        }
    }
    return ended;
}

/* Gives back every lease of a worker and then its slot. */
static inline void fp_leave(fp_map *map, uint64_t me) {
    uint32_t slot = (uint32_t)(me >> 42) & 0xff;
    if (!fp_is_joined(map, me)) return;
    for (uint32_t row = 0; row < map->rows[FP_LEASES]; row++) {
        uint64_t word = fp_load(&fp_lease_at(map, row)->word);
        if (word >> 42 == me >> 42) fp_release(map, row, fp_use(word), 1u << FP_ACQUIRING | 1u << FP_HELD);
    }
    fp_store(&fp_worker_at(map, slot)->owner, 0);
}

/* -- admission ----------------------------------------------------------------------------------------------------- */

typedef struct { int outcome, index; int64_t retry_after; uint32_t lease, use; } fp_verdict;

/* What one request asks of all its limits: costs in the order of the rates, amounts by kind of budget. */
typedef struct {
    const fp_rate *rates;
    const int64_t *costs;
    const fp_slot *slots;
    const fp_allowance *budgets;
    int n_rates, n_slots, n_budgets;
    int64_t amounts[FP_KINDS];
} fp_wants;

/* All slots and budgets, in the order given, or none. The first that is full is the verdict's index. */
static inline int fp_acquire(fp_map *map, uint64_t me, const fp_wants *wants, int64_t expires, fp_verdict *verdict) {
    const fp_slot *slots = wants->slots;
    const int n = wants->n_slots, budgets = wants->n_budgets;
    for (int i = 0; i < n; i++) {
        if (slots[i].row >= map->rows[FP_LIMITS]) return FP_FULL;
        verdict->index = i;
        if ((fp_load(&fp_limit_at(map, slots[i].row)->use) & FP_COUNT) >= slots[i].most) return FP_SLOTS;
    }
    for (int i = 0; i < budgets; i++) {
        if (!fp_sees_budget(map, &wants->budgets[i])) return FP_FULL;
        verdict->index = i;
        if (!fp_has_room(map, &wants->budgets[i], wants->amounts[wants->budgets[i].kind])) return FP_BUDGET;
    }
    verdict->index = -1;
    uint32_t use, row = fp_claim_lease(map, me, &use);
    if (row == FP_NO_ROW) return FP_FULL;
    if (budgets > 0) fp_declare_budgets(map, row, use, wants->amounts, budgets);
    fp_declare(map, row, slots, n, expires);
    for (int i = 0; i < n; i++) {
        if (fp_take_place(map, row, use, (uint32_t)i, slots[i])) continue;
        verdict->index = i;
        fp_release(map, row, use, 1u << FP_ACQUIRING);
        return FP_SLOTS;
    }
    for (int i = 0; i < budgets; i++) {
        if (fp_reserve(map, row, use, (uint32_t)i, &wants->budgets[i])) continue;
        verdict->index = i;
        fp_release(map, row, use, 1u << FP_ACQUIRING);
        return FP_BUDGET;
    }
    if (!fp_keep(map, row, use)) return FP_FULL;
    verdict->lease = row;
    verdict->use = use;
    return FP_ADMITTED;
}

/* Looks at all rates: a request that one of them refuses should touch nothing and learn the longest wait. */
static inline int fp_look(const fp_map *map, const fp_rate *rates, const int64_t *costs, int n, int64_t now,
                          fp_verdict *verdict) {
    int outcome = FP_ADMITTED;
    for (int i = 0; i < n; i++) {
        if (rates[i].row >= map->rows[FP_BUCKETS]) return FP_FULL;
        fp_taken taken = fp_take(fp_bucket_at(map, rates[i].row), rates[i], now, costs[i], true);
        if (taken.admitted) continue;
        bool longer = taken.retry_after < 0 || (verdict->retry_after >= 0 && taken.retry_after > verdict->retry_after);
        if (longer) {
            verdict->index = i;
            verdict->retry_after = taken.retry_after;
        }
        outcome = FP_RATE;
        if (rates[i].meter != NULL) fp_add(&rates[i].meter->stamp, (uint64_t)costs[i]);
    }
    return outcome;
}

/* All rates, or none. */
static inline int fp_charge(const fp_map *map, const fp_rate *rates, const int64_t *costs, int n, int64_t now,
                            fp_verdict *verdict) {
    int i = 0, outcome = FP_ADMITTED;
    for (; i < n && outcome == FP_ADMITTED; i++) {
        fp_taken taken = fp_take(fp_bucket_at(map, rates[i].row), rates[i], now, costs[i], false);
        if (taken.admitted) continue;
        verdict->index = i--;
        verdict->retry_after = taken.retry_after;
        outcome = FP_RATE;
    }
    if (outcome == FP_ADMITTED && fp_is_superseded(map)) outcome = FP_SUPERSEDED;
    for (; outcome != FP_ADMITTED && i > 0; i--) {
        fp_correct(fp_bucket_at(map, rates[i - 1].row), now, -costs[i - 1], rates[i - 1]);
    }
    for (int k = 0; outcome == FP_ADMITTED && k < n; k++) {
        if (rates[k].meter != NULL) fp_add(&rates[k].meter->value, (uint64_t)costs[k]);
    }
    return outcome;
}

/* Admits one request under all its limits or changes nothing. What is taken is taken before the map is asked whether it
 * was superseded, and who supersedes says so before copying: one of the two sees the other. */
static inline void fp_admit(fp_map *map, uint64_t me, const fp_wants *wants, int64_t now, int64_t expires,
                            fp_verdict *verdict) {
    const bool leases = wants->n_slots > 0 || wants->n_budgets > 0;
    *verdict = (fp_verdict){FP_ADMITTED, -1, 0, FP_NO_ROW, 0};
    verdict->outcome = fp_is_superseded(map) ? FP_SUPERSEDED
                                             : fp_look(map, wants->rates, wants->costs, wants->n_rates, now, verdict);
    if (verdict->outcome == FP_ADMITTED && leases) verdict->outcome = fp_acquire(map, me, wants, expires, verdict);
    if (verdict->outcome == FP_FULL) verdict->index = -1;
    if (verdict->outcome != FP_ADMITTED) return;
    verdict->index = -1;
    verdict->outcome = fp_charge(map, wants->rates, wants->costs, wants->n_rates, now, verdict);
    if (verdict->outcome != FP_ADMITTED && leases) {
        fp_release(map, verdict->lease, verdict->use, 1u << FP_HELD);
        verdict->lease = FP_NO_ROW;
    }
}

/* The same without budgets. */
static inline void fp_enter(fp_map *map, uint64_t me, const fp_rate *rates, const int64_t *costs, int n_rates,
                            const fp_slot *slots, int n_slots, int64_t now, int64_t expires, fp_verdict *verdict) {
    const fp_wants wants = {rates, costs, slots, NULL, n_rates, n_slots, 0, {0, 0}};
    fp_admit(map, me, &wants, now, expires, verdict);
}

/* Notes how much a running request has spent so far: what its budgets are charged when its worker dies. False when the
 * lease is no longer held. (A lease that expires just now may be another's a moment later: expiry is for leases that
 * nobody will settle, far beyond every time-out.) */
static inline bool fp_mark(const fp_map *map, uint32_t row, uint32_t use, const int64_t spent[FP_KINDS]) {
    uint64_t word = fp_load(&fp_lease_at(map, row)->word);
    if (fp_use(word) != use || fp_phase(word) != FP_HELD) return false;
    for (int i = 0; i < FP_KINDS; i++) fp_store(&fp_hold_at(map, row)->spent[i], (uint64_t)spent[i]);
    return true;
}

/* -- handing limits over to a newer map ---------------------------------------------------------------------------- */

/* Sees the workers, buckets, limits, leases and budgets of a map of any layout; NULL, or why it cannot be used. */
static inline const char *fp_see_limits(fp_map *map, void *base, uint64_t size, const uint8_t secret[16],
                                        const uint8_t boot[16]) {
    static const int needed[] = {FP_WORKERS, FP_BUCKETS, FP_LIMITS, FP_LEASES, FP_BUDGETS};
    fp_header copy;
    fp_region regions[FP_REGIONS];
    uint64_t key[2];
    if (size < FP_HEADER_SIZE) return "it is not an arena";
    memcpy(&copy, base, sizeof copy);
    memcpy(key, secret, 16);
    memset(regions, 0, sizeof regions);
    const char *reason = fp_distrust(&copy, size, key, boot);
    if (reason != NULL) return reason;
    if (copy.limits_layout != FP_LIMITS_LAYOUT) return "its limits have another layout";
    for (int i = 0; i < 5; i++) {
        fp_region region = copy.regions[needed[i]];
        bool sound = fp_rows_fit(needed[i], region.rows) && region.stride == fp_strides[needed[i]] &&
                     region.offset % FP_LINE == 0 && region.offset >= FP_HEADER_SIZE && region.offset <= size &&
                     region.rows * region.stride <= size - region.offset;
        if (!sound) return "its header is damaged";
        regions[needed[i]] = region;
    }
    fp_see(map, base, regions, secret);
    return NULL;
}

static inline uint64_t fp_adopt_buckets(const fp_map *from, const fp_map *to, int64_t now) {
    uint64_t adopted = 0;
    for (uint32_t row = 0; row < from->rows[FP_BUCKETS]; row++) {
        const fp_bucket *old = fp_bucket_at(from, row);
        uint64_t low = fp_load(&old->key.low), high = fp_load(&old->key.high), time = fp_load(&old->time);
        bool made;
        if (low == 0 || high == 0 || (int64_t)time <= now) continue;
        uint32_t new = fp_insert(to, FP_BUCKETS, low, high, &made);
        if (new == FP_NO_ROW) continue;
        fp_store(&fp_bucket_at(to, new)->time, time);
        adopted++;
    }
    return adopted;
}

/* Copies what budgets committed. What runs counts as spent: its worker will settle it in the old map, where nobody looks
 * any more. */
static inline uint64_t fp_adopt_budgets(const fp_map *from, const fp_map *to) {
    uint64_t adopted = 0;
    for (uint32_t row = 0; row < from->rows[FP_BUDGETS]; row++) {
        const fp_budget *old = fp_budget_at(from, row);
        uint64_t low = fp_load(&old->key.low), high = fp_load(&old->key.high);
        bool made;
        uint32_t new = low && high ? fp_insert(to, FP_BUDGETS, low, high, &made) : FP_NO_ROW;
        if (new == FP_NO_ROW) continue;
        fp_budget *budget = fp_budget_at(to, new);
        fp_store(&budget->marks, fp_load(&old->marks));
        for (int day = 0; day < FP_DAYS; day++) {
            fp_seen seen = fp_look_pair(&old->days[day]);
            fp_seen after = {seen.low, fp_with_period(0, fp_period(seen.high), fp_is_closed(seen.high))};
            while (!fp_cas_pair(&budget->days[day], fp_look_pair(&budget->days[day]), after)) {}
        }
        adopted++;
    }
    return adopted;
}

/* The limits of an old lease, as rows of the new map; how many, or -1 when it is no longer held. */
static inline int fp_read_lease(const fp_map *from, const fp_map *to, uint32_t row, fp_slot slots[FP_MOST],
                                int64_t *expires) {
    const fp_lease *lease = fp_lease_at(from, row);
    uint64_t word = fp_load(&lease->word), n = fp_load(&lease->n);
    int found = 0;
    *expires = (int64_t)fp_load(&lease->expires);
    for (uint32_t i = 0; i < n && i < FP_MOST; i++) {
        uint32_t old = atomic_load_explicit((_Atomic(uint32_t) *)&lease->rows[i], memory_order_acquire);
        if (old >= from->rows[FP_LIMITS]) continue;
        const fp_key *key = &fp_limit_at(from, old)->key;
        uint64_t low = fp_load(&key->low), high = fp_load(&key->high);
        bool made;
        uint32_t new = low && high ? fp_insert(to, FP_LIMITS, low, high, &made) : FP_NO_ROW;
        if (new != FP_NO_ROW) slots[found++] = (fp_slot){new, FP_COUNT};
    }
    return fp_load(&lease->word) == word && fp_phase(word) == FP_HELD ? found : -1;
}

/* Copies held leases. owners[slot]: who the old map's worker is in the new one, 0 when it is gone. */
static inline uint64_t fp_adopt_leases(const fp_map *from, fp_map *to, const uint64_t owners[256], int64_t now) {
    uint64_t adopted = 0;
    for (uint32_t row = 0; row < from->rows[FP_LEASES]; row++) {
        uint64_t word = fp_load(&fp_lease_at(from, row)->word), owner = owners[word >> 42 & 0xff];
        fp_slot slots[FP_MOST];
        fp_verdict verdict;
        int64_t expires;
        if (fp_phase(word) != FP_HELD || owner == 0 || !fp_is_joined(from, word)) continue;
        int n = fp_read_lease(from, to, row, slots, &expires);
        if (n <= 0 || expires <= now) continue;
        const fp_wants wants = {NULL, NULL, slots, NULL, 0, n, 0, {0, 0}};
        adopted += fp_acquire(to, owner, &wants, expires, &verdict) == FP_ADMITTED;
    }
    return adopted;
}

#endif
