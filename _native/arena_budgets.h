/* Budgets in the arena: how much was committed (spent, or reserved by what runs) in which period, never beyond a limit.
 * Included by arena.h, whose head says what holds here too; `limits` (arena_limits.h) drives it.
 *
 * A day of a budget is a pair of words that change whole: the sum, and beside it the period that it belongs to and a
 * note of the last step (which place of which use of which lease, taken or given back). So a period and its sum cannot
 * disagree, and as with concurrency limits each change is either in the lease's hold or in the note, however the one
 * who made it ended: whoever changes the day next first writes the note into that hold, where a place goes untouched ->
 * taken -> given back and never back. What a dead worker reserved comes back exactly once, less what it had marked as
 * spent. (Lanes per worker, zeroed on death, were the other way: but a sum of lanes cannot be compared and added to in
 * one step, so that 64 callers at once would refuse each other.)
 *
 * A calendar budget uses its first day only, under the number of the period's first day. A rolling one of n days is a
 * ring of n: only the newest takes requests, and before a newer one opens all older ones are closed for good, so that
 * a worker whose clock is behind follows instead of adding to yesterday.
 *
 * day    low : committed, less what was carried over (signed)
 *        high: use 23 | lease 17 | place 3 | given back 1 | closed 1 | period 18
 * hold   word: places 8 x 2 | use 23, and for each place
 *        days: row 24 | day 3 | kind 1 | rolling 1
 * marks      : crossed 32 | period 18 */
#ifndef FP_ARENA_BUDGETS_H
#define FP_ARENA_BUDGETS_H

#include "arena.h"

enum { FP_TOKENS, FP_MONEY, FP_KINDS };

#define FP_PARTS 6 /* rows of one budget */
#define FP_MOST_DAYS 31u
#define FP_PERIODS ((INT64_C(1) << 18) - 1)
#define FP_CLOSED (UINT64_C(1) << 44)
#define FP_NOTE (FP_CLOSED - 1)
#define FP_ROLLING (UINT32_C(1) << 28)
#define FP_MOST_TURNS 100 /* of the day while one request looks at it; more is damage, and refuses */
#define FP_ANY_PERIOD 1 /* stamp of the cap of a rolling budget */
#define FP_STALE 64 /* a note of thresholds from so many days ahead is damage */

/* A budget as one admission sees it. Periods and `ahead` are days since 1970. */
typedef struct {
    uint32_t rows[FP_PARTS];
    uint32_t days; /* 1: a calendar period at a time; more: a window of so many days */
    uint32_t kind;
    int64_t limit, stop;      /* never more than `limit` is committed, and nothing is once `stop` is */
    int64_t whole, carry;     /* what it gives for a period, and how much an unspent one hands on at most */
    int64_t period, previous; /* now, by the wall clock, and the one before */
    int64_t ahead;            /* a day so far ahead was opened by a clock that jumped, and counts; beyond it is damage */
    const fp_cell *caps[2];   /* of a budget that several nodes share: what this node may commit (value) in which period
                               * (stamp; FP_ANY_PERIOD for a rolling one), in either of them; NULL: `limit` alone holds */
} fp_allowance;

static inline int64_t fp_plus(int64_t a, int64_t b) {
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return a > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

static inline int64_t fp_period(uint64_t high) { return (int64_t)(high >> 45) & FP_PERIODS; }
static inline bool fp_is_closed(uint64_t high) { return (high & FP_CLOSED) != 0; }
static inline uint64_t fp_with_period(uint64_t high, int64_t period, bool closed) {
    return (high & FP_NOTE) | (uint64_t)(period & FP_PERIODS) << 45 | (closed ? FP_CLOSED : 0);
}
static inline uint64_t fp_with_step(uint64_t high, uint32_t lease, uint32_t use, uint32_t place, uint64_t given_back) {
    return (high & ~FP_NOTE) | use | (uint64_t)lease << 23 | (uint64_t)place << 40 | given_back << 43;
}
static inline uint32_t fp_hold_use(uint64_t word) { return (uint32_t)(word >> 16 & FP_USES); }

/* -- days ---------------------------------------------------------------------------------------------------------- */

static inline uint32_t fp_parts(const fp_allowance *budget) { return (budget->days + FP_DAYS - 1) / FP_DAYS; }

static inline bool fp_sees_budget(const fp_map *map, const fp_allowance *budget) {
    if (budget->days < 1 || budget->days > FP_MOST_DAYS) return false;
    for (uint32_t i = 0; i < fp_parts(budget); i++) {
        if (budget->rows[i] >= map->rows[FP_BUDGETS]) return false;
    }
    return true;
}

/* Where a period's day lies: its row, and which of the row's. */
static inline uint32_t fp_day_row(const fp_allowance *budget, int64_t period, uint32_t *day) {
    uint32_t at = budget->days == 1 ? 0 : (uint32_t)(period % budget->days);
    *day = at % FP_DAYS;
    return budget->rows[at / FP_DAYS];
}

static inline fp_pair *fp_day_of(const fp_map *map, const fp_allowance *budget, int64_t period) {
    uint32_t day, row = fp_day_row(budget, period, &day);
    return &fp_budget_at(map, row)->days[day];
}

/* Writes the note of a day into the hold it names. */
static inline void fp_settle_step(const fp_map *map, uint64_t high) {
    uint32_t use = (uint32_t)(high & FP_USES), row = (uint32_t)(high >> 23) & (FP_MAX_LEASES - 1);
    uint32_t place = (uint32_t)(high >> 40) & 7, before = (high >> 43 & 1) ? FP_TAKEN : FP_UNTOUCHED;
    if (use == 0 || row >= map->rows[FP_HOLDS]) return;
    fp_hold *hold = fp_hold_at(map, row);
    uint64_t word = fp_load(&hold->word);
    while (fp_hold_use(word) == use && fp_place(word, place) == before) {
        if (fp_cas(&hold->word, &word, fp_with_place(word, place, before + 1))) return;
    }
}

/* Which period takes what comes now. far: a day lies further ahead than any clock that is forgiven, so the numbers above
 * ours mean nothing: they come back into our window, their sums stay. */
typedef struct { int64_t period; bool far; } fp_turn;

/* Ours, or a newer one that someone opened. Never back: no period starts twice. */
static inline fp_turn fp_newest(const fp_map *map, const fp_allowance *budget) {
    int64_t newest = budget->period;
    bool closed = false;
    for (uint32_t at = 0; at < budget->days; at++) {
        uint64_t high = fp_load(&fp_day_of(map, budget, at)->high);
        int64_t found = fp_period(high);
        if (found < newest || (budget->days > 1 && found % budget->days != at)) continue;
        newest = found;
        closed = fp_is_closed(high);
    }
    if (newest - budget->period > budget->ahead) return (fp_turn){budget->period, true};
    return (fp_turn){newest + (closed ? 1 : 0), false};
}

/* Whether someone went on to a newer period since we chose this one. */
static inline bool fp_is_overtaken(const fp_allowance *budget, uint64_t high, fp_turn turn) {
    int64_t found = fp_period(high);
    if (turn.far || found < turn.period) return false;
    if (found == turn.period) return fp_is_closed(high);
    return budget->days == 1 || found % budget->days == turn.period % budget->days;
}

/* Closes a day of a window, whatever it held before, and adds what is committed in it; false when a newer one is there:
 * it is the same day of the ring, one turn later. */
static inline bool fp_close(const fp_allowance *budget, fp_pair *day, fp_turn turn, int64_t *past) {
    for (;;) {
        fp_seen seen = fp_look_pair(day);
        int64_t found = fp_period(seen.high);
        bool done = found == turn.period && fp_is_closed(seen.high);
        if (!done && fp_is_overtaken(budget, seen.high, turn)) return false;
        fp_seen after = {found < turn.period ? 0 : seen.low, fp_with_period(seen.high, turn.period, true)};
        if (!done && !fp_cas_pair(day, seen, after)) continue;
        *past = fp_plus(*past, (int64_t)after.low);
        return true;
    }
}

/* What the days before a window's newest hold, each of them closed; false when that is not the newest any more. */
static inline bool fp_past(const fp_map *map, const fp_allowance *budget, fp_turn turn, int64_t *past) {
    *past = 0;
    for (int64_t back = 1; back < (int64_t)budget->days && back < turn.period; back++) {
        const fp_turn older = {turn.period - back, turn.far};
        if (!fp_close(budget, fp_day_of(map, budget, older.period), older, past)) return false;
    }
    return true;
}

/* What a period begins or goes on with, given what its day holds. */
static inline int64_t fp_base(const fp_allowance *budget, fp_seen seen, int64_t period) {
    int64_t found = fp_period(seen.high), sum = (int64_t)seen.low;
    if (found >= period) return sum;
    if (found == 0 || budget->carry <= 0 || budget->days > 1) return 0;
    if (found != budget->previous) return -budget->carry;
    int64_t left = fp_plus(budget->whole, sum == INT64_MIN ? INT64_MAX : -sum);
    return left <= 0 ? 0 : left < budget->carry ? -left : -budget->carry;
}

/* What this node may commit in a period. Whoever is about to change a day looks at it first and here second: a cap is
 * lowered while what it loses is reserved, and so whoever saw the old cap finds the day changed. */
static inline int64_t fp_limit_of(const fp_allowance *budget, int64_t period) {
    if (budget->caps[0] == NULL) return budget->limit;
    const uint64_t wanted = budget->days > 1 ? FP_ANY_PERIOD : (uint64_t)period;
    for (int i = 0; i < 2; i++) {
        uint64_t before = fp_load(&budget->caps[i]->stamp), cap = fp_load(&budget->caps[i]->value);
        if (before != wanted || fp_load(&budget->caps[i]->stamp) != wanted) continue;
        return cap < (uint64_t)budget->limit ? (int64_t)cap : budget->limit;
    }
    return 0; /* nobody gave this node a part yet */
}

static inline bool fp_fits(const fp_allowance *budget, int64_t period, int64_t committed, int64_t amount) {
    return committed < budget->stop && fp_plus(committed, amount) <= fp_limit_of(budget, period);
}

/* Looks, changing nothing: what is committed, and in which period. */
static inline int64_t fp_committed(const fp_map *map, const fp_allowance *budget, int64_t *newest) {
    *newest = fp_newest(map, budget).period;
    int64_t sum = fp_base(budget, fp_look_pair(fp_day_of(map, budget, *newest)), *newest);
    for (int64_t back = 1; back < (int64_t)budget->days && back < *newest; back++) {
        fp_seen seen = fp_look_pair(fp_day_of(map, budget, *newest - back));
        if (fp_period(seen.high) >= *newest - back) sum = fp_plus(sum, (int64_t)seen.low); /* above: from far ahead */
    }
    return sum;
}

static inline bool fp_has_room(const fp_map *map, const fp_allowance *budget, int64_t amount) {
    int64_t newest, committed = fp_committed(map, budget, &newest);
    return fp_fits(budget, newest, committed, amount);
}

/* What requests that run have reserved. */
static inline int64_t fp_reserved(const fp_map *map, const fp_allowance *budget) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < fp_parts(budget); i++) {
        sum = fp_plus(sum, (int64_t)fp_load(&fp_budget_at(map, budget->rows[i])->reserved));
    }
    return sum < 0 ? 0 : sum;
}

/* -- reserving and giving back ------------------------------------------------------------------------------------- */

/* Writes what a claimed lease will reserve, before anything is. The new use goes first: who still helps the old one
 * sees it and stops. */
static inline void fp_declare_budgets(const fp_map *map, uint32_t row, uint32_t use, const int64_t amounts[FP_KINDS],
                                      int n) {
    fp_hold *hold = fp_hold_at(map, row);
    fp_store(&hold->word, (uint64_t)use << 16);
    for (int i = 0; i < FP_KINDS; i++) {
        fp_store(&hold->reserved[i], (uint64_t)amounts[i]);
        fp_store(&hold->spent[i], 0);
    }
    fp_store(&hold->n, (uint64_t)n);
}

/* Tries to move a day on to `period` with so much more committed. */
static inline bool fp_commit(fp_budget *budget, fp_pair *day, fp_seen seen, fp_seen after, int64_t amount,
                             bool restarts) {
    int64_t running = (int64_t)fp_load(&budget->reserved);
    if (!fp_cas_pair(day, seen, after)) return false;
    fp_add(&budget->reserved, (uint64_t)amount - (restarts ? (uint64_t)running : 0));
    return true;
}

/* Reserves one place of a lease that this caller is acquiring; false when the budget has no room. */
static inline bool fp_reserve(const fp_map *map, uint32_t row, uint32_t use, uint32_t place,
                              const fp_allowance *budget) {
    fp_hold *hold = fp_hold_at(map, row);
    const int64_t amount = (int64_t)fp_load(&hold->reserved[budget->kind]);
    for (int turns = 0; turns < FP_MOST_TURNS;) {
        const fp_turn turn = fp_newest(map, budget);
        const int64_t period = turn.period;
        int64_t past;
        if (!fp_past(map, budget, turn, &past) && ++turns) continue;
        uint32_t at, budget_row = fp_day_row(budget, period, &at);
        fp_pair *day = &fp_budget_at(map, budget_row)->days[at];
        fp_seen seen = fp_look_pair(day);
        int64_t found = fp_period(seen.high), base = fp_base(budget, seen, period);
        if (fp_is_overtaken(budget, seen.high, turn) && ++turns) continue;
        if (!fp_fits(budget, period, fp_plus(past, base), amount)) return false;
        fp_settle_step(map, seen.high);
        const uint32_t where = budget_row | at << 24 | budget->kind << 27 | (budget->days > 1 ? FP_ROLLING : 0);
        atomic_store_explicit(&hold->days[place], where, memory_order_release);
        atomic_store_explicit(&hold->periods[place], (uint32_t)period, memory_order_release);
        fp_seen after = {(uint64_t)fp_plus(base, amount),
                         fp_with_step(fp_with_period(seen.high, period, false), row, use, place, 0)};
        bool restarts = budget->days == 1 && found < period;
        if (!fp_commit(fp_budget_at(map, budget_row), day, seen, after, amount, restarts)) continue;
        fp_settle_step(map, after.high);
        return true;
    }
    return false;
}

/* Gives one place back, less what was spent, if it is taken and nobody did yet. Safe for any number of callers at once.
 * A period that is over keeps what it had. */
static inline void fp_give_budget(const fp_map *map, uint32_t row, uint32_t use, uint32_t place) {
    fp_hold *hold = fp_hold_at(map, row);
    uint32_t where = atomic_load_explicit(&hold->days[place], memory_order_acquire);
    uint32_t budget_row = where & (FP_MAX_ROWS - 1), at = where >> 24 & 7, kind = where >> 27 & 1;
    int64_t period = atomic_load_explicit(&hold->periods[place], memory_order_acquire);
    if (budget_row >= map->rows[FP_BUDGETS] || at >= FP_DAYS) return;
    fp_pair *day = &fp_budget_at(map, budget_row)->days[at];
    for (;;) {
        fp_seen seen = fp_look_pair(day);
        fp_settle_step(map, seen.high);
        uint64_t word = fp_load(&hold->word);
        if (fp_hold_use(word) != use || fp_place(word, place) != FP_TAKEN) return;
        bool current = fp_period(seen.high) == period;
        uint64_t reserved = fp_load(&hold->reserved[kind]), spent = fp_load(&hold->spent[kind]);
        fp_seen after = {current ? seen.low - reserved + spent : seen.low,
                         fp_with_step(seen.high, row, use, place, 1)};
        if (after.high == seen.high) return; /* only in a damaged map: the note was settled, the place is still taken */
        /* A calendar period began with nothing running; a window never begins. */
        const int64_t running = current || (where & FP_ROLLING) ? -(int64_t)reserved : 0;
        if (!fp_commit(fp_budget_at(map, budget_row), day, seen, after, running, false)) continue;
        fp_settle_step(map, after.high);
        return;
    }
}

static inline void fp_give_budgets(const fp_map *map, uint32_t row, uint32_t use) {
    fp_hold *hold = fp_hold_at(map, row);
    if (fp_hold_use(fp_load(&hold->word)) != use) return; /* this use of the lease reserved nothing */
    uint64_t n = fp_load(&hold->n);
    for (uint32_t place = 0; place < n && place < FP_MOST; place++) fp_give_budget(map, row, use, place);
}

/* -- without a lease ----------------------------------------------------------------------------------------------- */

/* Charges (negative: gives back) what nothing reserved, whatever the budget has left. */
static inline void fp_spend(const fp_map *map, const fp_allowance *budget, int64_t amount) {
    for (int turns = 0; turns < FP_MOST_TURNS;) {
        const fp_turn turn = fp_newest(map, budget);
        const int64_t period = turn.period;
        int64_t past;
        if (!fp_past(map, budget, turn, &past) && ++turns) continue;
        uint32_t at, row = fp_day_row(budget, period, &at);
        fp_pair *day = &fp_budget_at(map, row)->days[at];
        fp_seen seen = fp_look_pair(day);
        if (fp_is_overtaken(budget, seen.high, turn) && ++turns) continue;
        bool restarts = budget->days == 1 && fp_period(seen.high) < period;
        fp_seen after = {(uint64_t)fp_plus(fp_base(budget, seen, period), amount),
                         fp_with_period(seen.high, period, false)};
        if (fp_commit(fp_budget_at(map, row), day, seen, after, 0, restarts)) return;
    }
}

/* Sees to it that at least `spent` is spent in a period, unless a newer one took its day. */
static inline void fp_seed(const fp_map *map, const fp_allowance *budget, int64_t period, int64_t spent) {
    fp_pair *day = fp_day_of(map, budget, period);
    for (;;) {
        fp_seen seen = fp_look_pair(day);
        int64_t found = fp_period(seen.high), sum = (int64_t)seen.low;
        if (found > period && found - period <= budget->ahead) return;
        int64_t wanted = found == period ? fp_plus(spent, fp_reserved(map, budget)) : spent;
        if (found == period && sum >= wanted) return;
        fp_seen after = {(uint64_t)wanted,
                         fp_with_period(seen.high, period, found == period && fp_is_closed(seen.high))};
        if (fp_cas_pair(day, seen, after)) return;
    }
}

/* Notes thresholds (a bit each) as crossed in a period; gives those that nobody had noted. `days`: how long a note lasts,
 * 1 for as long as the period does. */
static inline uint32_t fp_cross(fp_atomic *marks, int64_t period, uint32_t crossed, uint32_t days) {
    uint64_t word = fp_load(marks);
    for (;;) {
        int64_t noted = (int64_t)(word >> 32) & FP_PERIODS;
        bool over = days == 1 ? noted < period : period - noted >= (int64_t)days;
        over = over || noted - period > FP_STALE;
        uint32_t known = over ? 0 : (uint32_t)word;
        if ((crossed & ~known) == 0) return 0;
        uint64_t after = (uint64_t)(over ? period : noted) << 32 | known | crossed;
        if (fp_cas(marks, &word, after)) return crossed & ~known;
    }
}

#endif
