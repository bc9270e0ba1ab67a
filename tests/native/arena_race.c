/* The arena's C under threads that play processes, die anywhere and are reaped by reapers that die too.
 *
 *   arena_race crash          dies once at every step of every change, alone and with a reaper that dies at every step
 *   arena_race race ROUNDS    random lives and deaths on several threads; built with -fsanitize=thread by the test
 *   arena_race upgrade        limits move to a newer map while everyone keeps asking
 *   arena_race midnight       budgets are spent by threads whose clocks disagree about the day
 *
 * Prints one line and exits 0, or says which line of this file found what wrong and exits 1. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local int steps_to_death; /* 0: lives on */
static _Thread_local int steps_to_yield;
static _Thread_local jmp_buf death;

static void crash_point(void) {
    if (steps_to_yield > 0 && --steps_to_yield == 0) sched_yield();
    if (steps_to_death > 0 && --steps_to_death == 0) longjmp(death, 1);
}
#define FP_CRASH_POINT() crash_point()
#include "arena.h"

#define CHECK(what) do { if (!(what)) { printf("line %d: %s\n", __LINE__, #what); exit(1); } } while (0)

enum { THREADS = 4, LIMITS = 4, MOST = 3, IDS = 96 };
static const uint8_t secret[16] = "sixteen bytes ok", boot[16] = "this boot, alas";

static fp_map make_map(uint64_t lease_rows) {
    fp_region regions[FP_REGIONS];
    for (int i = 0; i < FP_REGIONS; i++) regions[i].rows = 128;
    regions[FP_WORKERS].rows = 16;
    regions[FP_LEASES].rows = lease_rows;
    uint64_t size = fp_plan(regions);
    CHECK(size > 0);
    void *base = aligned_alloc(64, (size + 63) / 64 * 64);
    memset(base, 0, size);
    fp_map map;
    fp_format(&map, base, regions, size, 1000, secret, boot);
    return map;
}

static uint32_t row_of(const fp_map *map, int region, uint64_t id) {
    bool made;
    uint32_t row = fp_insert(map, region, id, ~id, &made);
    CHECK(row != FP_NO_ROW);
    return row;
}

static uint64_t in_use(const fp_map *map, uint32_t row) { return fp_load(&fp_limit_at(map, row)->use) & FP_COUNT; }

static void all_free(fp_map *map) {
    for (uint32_t row = 0; row < map->rows[FP_LEASES]; row++) {
        CHECK(fp_phase(fp_load(&fp_lease_at(map, row)->word)) == FP_FREE);
    }
    for (uint32_t row = 0; row < map->rows[FP_LIMITS]; row++) CHECK(in_use(map, row) == 0);
}

/* -- every step ---------------------------------------------------------------------------------------------------- */

static fp_slot three[3];
static fp_rate two[2];
static const int64_t costs[2] = {1, 2};
static fp_allowance purses[2]; /* one of tokens by the calendar, one of money over eight days */
enum { DAY = 20000, PURSE = 1000 };

static fp_allowance make_purse(const fp_map *map, uint64_t id, uint32_t days, int64_t limit) {
    fp_allowance purse = {{0}, days, days == 1 ? FP_TOKENS : FP_MONEY, limit, limit, limit, 0, DAY, DAY - 1, 2, {NULL, NULL}};
    for (uint32_t i = 0; i < FP_PARTS; i++) purse.rows[i] = row_of(map, FP_BUDGETS, id + i);
    return purse;
}

static int64_t committed(const fp_map *map, const fp_allowance *purse) {
    int64_t newest;
    return fp_committed(map, purse, &newest);
}

static void set_limits(fp_map *map) {
    for (int i = 0; i < 3; i++) three[i] = (fp_slot){row_of(map, FP_LIMITS, 11 + i), MOST};
    for (int i = 0; i < 2; i++) two[i] = (fp_rate){row_of(map, FP_BUCKETS, 21 + i), 1, 1 << 20, 1, 0, NULL};
    for (int i = 0; i < 2; i++) purses[i] = make_purse(map, 51 + 10 * (uint64_t)i, i ? 8 : 1, PURSE);
}

static void admit(fp_map *map, uint64_t me, int64_t tokens, int64_t money, fp_verdict *verdict) {
    const fp_wants wants = {two, costs, three, purses, tokens == 1 ? 0 : 2, 3, 2, {tokens, money}};
    fp_admit(map, me, &wants, 1000, 1 << 30, verdict);
}

static void bury(fp_map *map, uint64_t me) { fp_store(&fp_worker_at(map, me >> 42 & 0xff)->owner, 0); }

/* A life that ends after `steps`: joins, is admitted, gives back. True when it lived to the end. */
static bool live(fp_map *map, int steps, uint64_t *me) {
    fp_verdict verdict;
    *me = 0;
    if (setjmp(death)) return false;
    steps_to_death = steps;
    CHECK(fp_join(map, fp_owner(7, 7), me) != FP_NO_ROW);
    admit(map, *me, 7, 70, &verdict);
    CHECK(verdict.outcome == FP_ADMITTED);
    CHECK(fp_mark(map, verdict.lease, verdict.use, (int64_t[]){3, 30}));
    CHECK(fp_mark(map, verdict.lease, verdict.use, (int64_t[]){4, 40}));
    CHECK(fp_release(map, verdict.lease, verdict.use, 1u << FP_HELD));
    steps_to_death = 0;
    return true;
}

static bool reap(fp_map *map, int steps) {
    if (setjmp(death)) return false;
    steps_to_death = steps;
    fp_reap_leases(map, 1000);
    steps_to_death = 0;
    return true;
}

/* Ends every worker but `survivor`, as the reaper would that found them dead. */
static void bury_others(fp_map *map, uint64_t survivor) {
    for (uint32_t slot = 0; slot < map->rows[FP_WORKERS]; slot++) {
        if (slot != (survivor >> 42 & 0xff)) fp_store(&fp_worker_at(map, slot)->owner, 0);
    }
}

static int crash(void) {
    int lives = 0;
    for (int steps = 1, whole = 0; !whole; steps++) {
        for (int reaper_steps = 1, reaped = 0; !reaped; reaper_steps++, lives++) {
            fp_map map = make_map(8);
            uint64_t survivor, victim;
            fp_verdict kept, passing;
            set_limits(&map);
            CHECK(fp_join(&map, fp_owner(1, 1), &survivor) != FP_NO_ROW);
            admit(&map, survivor, 1, 10, &kept);
            whole = live(&map, steps, &victim);
            if (lives & 1) { /* someone else moves the same limits on before anyone reaps */
                admit(&map, survivor, 1, 10, &passing);
                if (passing.outcome == FP_ADMITTED) fp_release(&map, passing.lease, passing.use, 1u << FP_HELD);
            }
            bury_others(&map, survivor);
            reaped = reap(&map, reaper_steps);
            CHECK(reap(&map, 0));
            for (int i = 0; i < 3; i++) CHECK(in_use(&map, three[i].row) == 1);
            const int64_t tokens = committed(&map, &purses[0]) - 1, money = committed(&map, &purses[1]) - 10;
            CHECK(tokens == 0 || tokens == 3 || tokens == 4);
            CHECK(money == 0 || money == 30 || money == 40);
            CHECK(!whole || (tokens == 4 && money == 40));
            CHECK(fp_release(&map, kept.lease, kept.use, 1u << FP_HELD));
            all_free(&map);
            CHECK(committed(&map, &purses[0]) == tokens && committed(&map, &purses[1]) == money);
            free(map.header);
        }
    }
    return lives;
}

/* A helper that slept since it read a note wakes up after the place was given back, while the lease is releasing. */
static void stale_note(void) {
    fp_map map = make_map(8);
    uint64_t me;
    fp_verdict verdict;
    set_limits(&map);
    CHECK(fp_join(&map, fp_owner(1, 1), &me) != FP_NO_ROW);
    fp_enter(&map, me, NULL, NULL, 0, three, 3, 1000, 1 << 30, &verdict);
    uint64_t taken = fp_load(&fp_limit_at(&map, three[0].row)->use);
    fp_atomic *word = &fp_lease_at(&map, verdict.lease)->word;
    fp_store(word, fp_with_phase(fp_load(word), FP_RELEASING));
    fp_give_place(&map, verdict.lease, verdict.use, 0);
    fp_settle_note(&map, taken);
    CHECK(fp_place(fp_load(word), 0) == FP_GIVEN_BACK);
    fp_finish_release(&map, verdict.lease, verdict.use);
    all_free(&map);
    fp_settle_note(&map, taken);
    all_free(&map);
    free(map.header);
}

static void series(fp_map *map, uint32_t family, bool *found) {
    static const uint8_t text[] = "a family\0a label";
    uint32_t row = fp_series_row(map, FP_SERIES, family, 5, 6);
    *found = row != FP_NO_ROW;
    if (*found) CHECK(fp_publish(fp_at(map, FP_SERIES, row), FP_COUNTER, text, sizeof text) == FP_COUNTER);
}

static int crash_in_series(void) {
    volatile int lives = 0;
    for (volatile int whole = 0; !whole;) {
        fp_map map = make_map(8);
        uint8_t text[FP_TEXT];
        uint64_t meta;
        bool found, made;
        const volatile uint32_t family = fp_insert(&map, FP_FAMILIES, 1, 2, &made);
        if (!setjmp(death)) {
            steps_to_death = ++lives;
            series(&map, family, &found);
            steps_to_death = 0;
            whole = 1;
        }
        series(&map, family, &found);
        CHECK(found);
        uint32_t row = fp_find(&map, FP_SERIES, 5, 6);
        CHECK(row != FP_NO_ROW && fp_text(fp_at(&map, FP_SERIES, row), text, &meta) == 17);
        uint64_t rows = fp_load(&((fp_family *)fp_at(&map, FP_FAMILIES, family))->rows);
        CHECK(rows >= 1 && rows <= 2);
        free(map.header);
    }
    return lives;
}

/* -- many threads -------------------------------------------------------------------------------------------------- */

static fp_map shared;
static fp_slot slots[LIMITS];
static fp_rate rate = {0, 1000, 5000, 1, 0, NULL};
static _Atomic(int) inside[LIMITS];
static _Atomic(int) dead[1 << 22]; /* by pid */
static _Atomic(int) next_pid = 1, stop, deaths, spending;
static _Atomic(uint32_t) rows_seen[IDS];
static _Atomic(uint64_t) ticks, recorded, charged;

typedef struct { unsigned seed; int rounds; } fp_thread;

static unsigned chance(fp_thread *thread, unsigned n) { return (unsigned)rand_r(&thread->seed) % n; }

static void count(fp_map *map, fp_thread *thread) {
    uint64_t n = chance(thread, 9);
    bool found;
    uint32_t id = chance(thread, IDS), none = UINT32_MAX, row = row_of(map, FP_CELLS, 100 + id);
    if (!atomic_compare_exchange_strong(&rows_seen[id], &none, row)) CHECK(none == row);
    series(map, FP_NO_ROW, &found);
    CHECK(found);
    fp_row *counter = fp_at(map, FP_SERIES, fp_find(map, FP_SERIES, 5, 6));
    fp_add(&counter->value, n);
    fp_record(fp_at(map, FP_HISTOGRAMS, 0), n << 20);
    atomic_fetch_add(&ticks, n);
    atomic_fetch_add(&recorded, 1);
    fp_sample *sample = fp_at(map, FP_SAMPLES, 0);
    double values[FP_VALUES];
    uint64_t stamp;
    if (fp_read_sample(sample, &stamp, values)) CHECK(values[0] == (double)stamp && values[4] == (double)stamp);
    fp_ewma(&counter->text[20], &counter->text[21], (int64_t)n + 1, (double)n, 5);
}

/* Is admitted to some of the limits, and sees that no more are inside than may be. */
static void visit(fp_map *map, uint64_t me, fp_thread *thread) {
    unsigned first = chance(thread, LIMITS), n = 1 + chance(thread, LIMITS - first);
    bool expired = chance(thread, 8) == 0, pays = chance(thread, 4) == 0;
    int64_t cost = 1;
    fp_verdict verdict;
    fp_allowance mine[2] = {purses[0], purses[1]};
    mine[1].period += chance(thread, 3); /* its clock is off by days */
    const fp_wants wants = {&rate, &cost, slots + first, mine, pays, (int)n, 2, {100, 100}};
    fp_admit(map, me, &wants, 1000, expired ? 1 : 1 << 30, &verdict);
    if (verdict.outcome != FP_ADMITTED) return;
    if (!expired) CHECK(atomic_fetch_add(&spending, 100) < PURSE);
    if (!expired) atomic_fetch_sub(&spending, 100);
    if (pays) atomic_fetch_add(&charged, 1);
    for (unsigned i = first; !expired && i < first + n; i++) CHECK(atomic_fetch_add(&inside[i], 1) < MOST);
    if (chance(thread, 2)) sched_yield();
    for (unsigned i = first; !expired && i < first + n; i++) atomic_fetch_sub(&inside[i], 1);
    if (chance(thread, 8)) fp_release(map, verdict.lease, verdict.use, 1u << FP_HELD);
    else if (!expired) CHECK(fp_load(&fp_lease_at(map, verdict.lease)->word) != 0); /* dropped: its owner dies soon */
}

static void *worker(void *argument) {
    fp_thread *thread = argument;
    fp_map map = shared;
    uint64_t me;
    while (thread->rounds > 0) {
        int pid = atomic_fetch_add(&next_pid, 1);
        if (!setjmp(death)) {
            steps_to_death = 1 + (int)chance(thread, 3000);
            if (fp_join(&map, fp_owner((uint64_t)pid, 1), &me) == FP_NO_ROW) sched_yield();
            else for (;;) {
                steps_to_yield = (int)chance(thread, 40);
                count(&map, thread);
                for (int i = 0; i < 4; i++) visit(&map, me, thread);
            }
        }
        steps_to_death = 0;
        atomic_fetch_add(&deaths, 1);
        thread->rounds--;
        atomic_store(&dead[pid], 1);
    }
    return NULL;
}

static void free_slots(fp_map *map, bool everyone) {
    for (uint32_t slot = 0; slot < map->rows[FP_WORKERS]; slot++) {
        fp_atomic *owner = &fp_worker_at(map, slot)->owner;
        uint64_t word = fp_load(owner);
        if (word != 0 && (everyone || atomic_load(&dead[fp_owner_pid(word)]))) fp_cas(owner, &word, 0);
    }
}

static void *reaper(void *argument) {
    fp_thread *thread = argument;
    fp_map map = shared;
    while (!atomic_load(&stop)) {
        if (setjmp(death)) continue;
        steps_to_death = (int)chance(thread, 60);
        free_slots(&map, false);
        fp_reap_leases(&map, 1000);
        steps_to_death = 0;
        fp_lane_sum(&map, 3);
        sched_yield();
    }
    steps_to_death = 0;
    return NULL;
}

/* The only writer of the sample. */
static void *poller(void *argument) {
    double values[FP_VALUES];
    (void)argument;
    for (uint64_t stamp = 1; !atomic_load(&stop); stamp++) {
        for (int i = 0; i < FP_VALUES; i++) values[i] = (double)stamp;
        fp_write_sample(fp_at(&shared, FP_SAMPLES, 0), stamp, values);
        sched_yield();
    }
    return NULL;
}

static void race(int rounds) {
    pthread_t workers[THREADS], reapers[2], polls;
    fp_thread state[THREADS + 2];
    shared = make_map(64);
    for (int i = 0; i < LIMITS; i++) slots[i] = (fp_slot){row_of(&shared, FP_LIMITS, 31 + i), MOST};
    for (int i = 0; i < 2; i++) purses[i] = make_purse(&shared, 51 + 10 * (uint64_t)i, i ? 8 : 1, PURSE);
    rate.row = row_of(&shared, FP_BUCKETS, 41);
    for (int i = 0; i < IDS; i++) atomic_store(&rows_seen[i], UINT32_MAX);
    for (int i = 0; i < THREADS + 2; i++) state[i] = (fp_thread){17u + (unsigned)i, rounds};
    for (int i = 0; i < THREADS; i++) pthread_create(&workers[i], NULL, worker, &state[i]);
    for (int i = 0; i < 2; i++) pthread_create(&reapers[i], NULL, reaper, &state[THREADS + i]);
    pthread_create(&polls, NULL, poller, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(workers[i], NULL);
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) pthread_join(reapers[i], NULL);
    pthread_join(polls, NULL);
    free_slots(&shared, true);
    fp_reap_leases(&shared, 1000);
    fp_reap_leases(&shared, 1000);
    all_free(&shared);
    CHECK(committed(&shared, &purses[0]) == 0 && committed(&shared, &purses[1]) == 0);
    uint64_t bins[FP_BINS], counted = fp_copy_bins(fp_at(&shared, FP_HISTOGRAMS, 0), bins);
    fp_row *counter = fp_at(&shared, FP_SERIES, fp_find(&shared, FP_SERIES, 5, 6));
    CHECK(counted == atomic_load(&recorded));
    CHECK(fp_load(&counter->value) == atomic_load(&ticks));
    uint64_t paid = fp_load(&fp_bucket_at(&shared, rate.row)->time);
    CHECK(paid == 0 || (paid - 1000) / 1000 <= 5000);
    CHECK(paid == 0 || (paid - 1000) / 1000 >= atomic_load(&charged));
    CHECK(paid == 0 || (paid - 1000) / 1000 <= atomic_load(&charged) + (uint64_t)atomic_load(&deaths));
}

/* -- a newer map --------------------------------------------------------------------------------------------------- */

static fp_map newer;
static _Atomic(int) switched;

static void *spender(void *argument) {
    fp_thread *thread = argument;
    fp_map map = shared;
    uint64_t me, spent = 0;
    fp_slot slot = slots[0];
    CHECK(fp_join(&map, fp_owner(50 + thread->seed, 1), &me) != FP_NO_ROW);
    for (int i = 0; i < thread->rounds; i++) {
        int64_t cost = 1;
        fp_verdict verdict;
        steps_to_yield = (int)chance(thread, 30);
        fp_enter(&map, me, &rate, &cost, 1, &slot, 1, 1000, 1 << 30, &verdict);
        if (verdict.outcome == FP_ADMITTED) {
            CHECK(atomic_fetch_add(&inside[0], 1) < MOST);
            spent++;
            if (chance(thread, 2)) sched_yield();
            atomic_fetch_sub(&inside[0], 1);
            fp_release(&map, verdict.lease, verdict.use, 1u << FP_HELD);
        } else if (verdict.outcome == FP_SUPERSEDED) {
            while (!atomic_load(&switched)) sched_yield();
            map = newer;
            slot.row = row_of(&map, FP_LIMITS, 31);
            CHECK(fp_join(&map, fp_owner(90 + thread->seed, 1), &me) != FP_NO_ROW);
        } else if (verdict.outcome == FP_SLOTS) {
            i--; /* whoever holds the places may not run for a while; only what the rate refuses uses a round up */
            sched_yield();
        }
    }
    atomic_fetch_add(&charged, spent);
    return NULL;
}

static void upgrade(void) {
    for (unsigned turn = 0; turn < 20; turn++) {
        pthread_t threads[THREADS];
        fp_thread state[THREADS];
        uint64_t owners[256] = {0}, spent = 0;
        shared = make_map(64);
        newer = make_map(64);
        atomic_store(&switched, 0);
        atomic_store(&charged, 0);
        slots[0] = (fp_slot){row_of(&shared, FP_LIMITS, 31), MOST};
        rate = (fp_rate){row_of(&shared, FP_BUCKETS, 41), 1000, 600, 1, 0, NULL};
        CHECK(row_of(&newer, FP_BUCKETS, 41) == rate.row);
        for (int i = 0; i < THREADS; i++) state[i] = (fp_thread){turn * 10 + (unsigned)i, 400};
        for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, spender, &state[i]);
        for (unsigned i = 0; i < turn * 8; i++) sched_yield();
        fp_map old;
        CHECK(fp_see_limits(&old, shared.header, shared.header->size, secret, boot) == NULL);
        CHECK(fp_swap(&old.header->superseded, 0, 1));
        for (uint32_t slot = 0; slot < 16; slot++) {
            uint64_t owner = fp_load(&fp_worker_at(&old, slot)->owner);
            if (owner) fp_join(&newer, owner & ~UINT64_C(3), &owners[slot]);
        }
        spent = fp_adopt_buckets(&old, &newer, 1000);
        fp_adopt_leases(&old, &newer, owners, 1000);
        for (int i = 0; i < 256; i++) if (owners[i]) bury(&newer, owners[i]); /* nobody of the old map lives on */
        fp_reap_leases(&newer, 1000);
        while (atomic_load(&inside[0]) > 0) sched_yield(); /* nor is anyone still inside */
        atomic_store(&switched, 1);
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        CHECK(spent <= 1 && atomic_load(&charged) <= 600 && atomic_load(&charged) + THREADS >= 600);
        free(shared.header);
        free(newer.header);
    }
}

/* -- two days at once ---------------------------------------------------------------------------------------------- */

static _Atomic(int64_t) spent_in[2];
static uint32_t window;

/* Reserves and never gives back, on a clock that says now this day and now the next. */
static void *night_owl(void *argument) {
    fp_thread *thread = argument;
    fp_map map = shared;
    uint64_t me;
    CHECK(fp_join(&map, fp_owner(50 + thread->seed, 1), &me) != FP_NO_ROW);
    for (int i = 0; i < thread->rounds; i++) {
        fp_verdict verdict;
        fp_allowance purse = make_purse(&map, 71, window, 100);
        purse.period += chance(thread, 2);
        int64_t amount = 1 + chance(thread, 9);
        steps_to_yield = (int)chance(thread, 30);
        const fp_wants wants = {NULL, NULL, NULL, &purse, 0, 0, 1, {amount, amount}};
        fp_admit(&map, me, &wants, 1000, 1 << 30, &verdict);
        if (verdict.outcome != FP_ADMITTED) continue;
        uint32_t day = atomic_load(&fp_hold_at(&map, verdict.lease)->periods[0]) - DAY;
        CHECK(day < 2);
        atomic_fetch_add(&spent_in[day], amount);
    }
    return NULL;
}

static void midnight(void) {
    for (unsigned turn = 0; turn < 40; turn++) {
        pthread_t threads[THREADS];
        fp_thread state[THREADS];
        window = turn & 1 ? 8 : 1;
        shared = make_map(128);
        for (int day = 0; day < 2; day++) atomic_store(&spent_in[day], 0);
        for (int i = 0; i < THREADS; i++) state[i] = (fp_thread){turn * 10 + (unsigned)i, 60};
        for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, night_owl, &state[i]);
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        int64_t first = atomic_load(&spent_in[0]), second = atomic_load(&spent_in[1]);
        fp_allowance purse = make_purse(&shared, 71, window, 100);
        CHECK(first <= 100 && second <= 100 && (window == 1 || first + second <= 100));
        CHECK(second + (window > 1 ? first : 0) > 90); /* what does not fit any more is small */
        CHECK(committed(&shared, &purse) == second + (window > 1 ? first : 0));
        free(shared.header);
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "crash") == 0) stale_note(), printf("crash: %d + %d lives\n", crash(), crash_in_series());
    else if (strcmp(what, "race") == 0) race(argc > 2 ? atoi(argv[2]) : 100), printf("race: %d deaths\n", deaths);
    else if (strcmp(what, "upgrade") == 0) upgrade(), printf("upgrade: limits held\n");
    else if (strcmp(what, "midnight") == 0) midnight(), printf("midnight: budgets held\n");
    else return 2;
    return 0;
}
