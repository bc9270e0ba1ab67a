/* The outbox's C at every step: what a reader sees of an append that a kill interrupts, and of any damage.
 *
 *   outbox_torture steps    looks at the segment between any two steps of an append, as after kill -9
 *   outbox_torture damage   every byte of a segment flipped in every bit, and zeroed in blocks as a disk tears them
 *   outbox_torture checksum the instruction's and the plain one agree
 *
 * Prints one line and exits 0, or says which line of this file found what wrong and exits 1. */
#include <stdio.h>
#include <stdlib.h>

static void crash_point(void);
#define FP_CRASH_POINT() crash_point()
#include "outbox.h"

#define CHECK(what) do { if (!(what)) { printf("line %d: %s\n", __LINE__, #what); exit(1); } } while (0)

enum { SIZE = 4096, RECORDS = 24 };
static uint8_t memory[SIZE] __attribute__((aligned(64))), original[SIZE];
static fpo_key key;
static uint32_t starts[RECORDS + 1];
static int whole, steps, watching;

static uint32_t size_of(int number) { return 1 + (uint32_t)number * 37 % 140; }

static void fill(uint8_t *payload, int number) {
    for (uint32_t i = 0; i < size_of(number); i++) payload[i] = (uint8_t)(number * 31 + i);
}

static bool is_whole(const uint8_t *data, int number) {
    uint8_t payload[256];
    fpo_record record;
    fill(payload, number);
    int64_t step = fpo_check(data + starts[number], SIZE - starts[number], starts[number], key, &record);
    return step > 0 && record.size == size_of(number) && (record.word & FPO_NUMBERS) == (uint32_t)number + 1 &&
           memcmp(record.payload, payload, record.size) == 0;
}

/* A copy in memory of its own size, so that a sanitizer sees a look behind it. */
static uint8_t *copy_of(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    return copy;
}

static void crash_point(void) {
    fpo_record record;
    if (!watching) return;
    steps++;
    for (int i = 0; i < whole; i++) CHECK(is_whole(memory, i));
    int64_t step = fpo_check(memory + starts[whole], SIZE - starts[whole], starts[whole], key, &record);
    CHECK(step == FPO_NOTHING || is_whole(memory, whole));
}

static void append_all(void) {
    uint8_t payload[256];
    uint32_t at = FPO_FIRST;
    memset(memory, 0, SIZE);
    for (whole = 0; whole < RECORDS; whole++) {
        starts[whole] = at;
        fill(payload, whole);
        uint8_t *given = copy_of(payload, size_of(whole));
        fpo_put(memory, at, key, (uint32_t)whole + 1, given, size_of(whole));
        free(given);
        at += fpo_padded(size_of(whole));
        CHECK(at + 200 < SIZE);
    }
    starts[RECORDS] = at;
}

static int look(void) {
    watching = 1;
    append_all();
    watching = 0;
    fpo_seal(memory, key, starts[RECORDS], true);
    uint64_t word;
    uint32_t end;
    bool last;
    memcpy(&word, memory + FPO_SEAL, 8);
    CHECK(fpo_unseal(word, key, &end, &last) && end == starts[RECORDS] && last);
    for (int bit = 0; bit < 64; bit++) CHECK(!fpo_unseal(word ^ 1ull << bit, key, &end, &last));
    printf("steps: %d\n", steps);
    return 0;
}

/* Every record is found whole but those of which a byte changed, and nothing else is found. */
static void check_neighbours(const uint8_t *data) {
    uint32_t at = FPO_FIRST;
    fpo_record record;
    uint8_t *copy = copy_of(data, SIZE);
    for (int i = 0; i < RECORDS; i++) {
        if (memcmp(copy + starts[i], original + starts[i], FPO_HEAD + size_of(i)) != 0) continue;
        at += (uint32_t)fpo_find(copy + at, SIZE - at, at, key);
        CHECK(at == starts[i] && is_whole(copy, i));
        at += (uint32_t)fpo_check(copy + at, SIZE - at, at, key, &record);
    }
    CHECK(fpo_find(copy + at, SIZE - at, at, key) == SIZE - at);
    free(copy);
}

static int damage(void) {
    append_all();
    memcpy(original, memory, SIZE);
    for (uint32_t at = FPO_FIRST; at < starts[RECORDS]; at++) {
        for (int bit = 0; bit < 8; bit++) {
            memory[at] ^= (uint8_t)(1 << bit);
            check_neighbours(memory);
            memory[at] ^= (uint8_t)(1 << bit);
        }
    }
    for (uint32_t at = FPO_FIRST; at + 512 < starts[RECORDS]; at += 8) {
        uint8_t *torn = copy_of(memory, SIZE);
        memset(torn + at, 0, 512);
        check_neighbours(torn);
        memset(torn + at, 0xff, 512);
        check_neighbours(torn);
        free(torn);
    }
    for (size_t size = 0; size < starts[RECORDS] - FPO_FIRST; size++) {
        uint8_t *copy = copy_of(memory + FPO_FIRST, size);
        size_t at = 0;
        fpo_record record;
        for (int64_t step; (step = fpo_check(copy + at, size - at, FPO_FIRST + at, key, &record)) > 0;) {
            at += (size_t)step;
            if (at >= size) break;
        }
        free(copy);
    }
    printf("damage: neighbours whole\n");
    return 0;
}

static int checksum(void) {
    const uint8_t *check = (const uint8_t *)"123456789";
    CHECK(~fpo_crc_plain(~0u, check, 9) == 0xe3069283);
    for (size_t size = 0; size < 300; size++) {
        uint8_t *data = copy_of(memory, size);
        for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i * i + 7 * size);
        CHECK(fpo_crc((uint32_t)size, data, size) == fpo_crc_plain((uint32_t)size, data, size));
        free(data);
    }
    printf("checksum: agrees\n");
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    key = fpo_key_of(0x0123456789abcdefull, 7);
    if (strcmp(argv[1], "steps") == 0) return look();
    if (strcmp(argv[1], "damage") == 0) return damage();
    return checksum();
}
