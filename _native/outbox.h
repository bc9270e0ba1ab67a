/* Records inside a segment of the outbox: how one is written, checked, and found again behind a damaged one.
 *
 * Owns: the layout of a record and of a segment's seal, the checksum, the order of the stores. Does not own: files, the
 * rest of a segment's header, what a record says, when it is synced.
 * Concurrency: one thread appends to a segment; any number of processes read the same memory meanwhile, and the one that
 * appends may be killed between two instructions. A record is there once its length is, which is stored last, with
 * release order; a seal is one store. Readers check copies (of a page cache, of a disk): nothing in them is trusted.
 *
 * FP_CRASH_POINT stands between any two steps that others can see. It is nothing, except in the torture test, which
 * looks at the segment there. */
#ifndef FP_OUTBOX_H
#define FP_OUTBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#ifndef FP_CRASH_POINT
#define FP_CRASH_POINT() ((void)0)
#endif

#define FPO_SEAL 120u    /* offset of the seal */
#define FPO_FIRST 128u   /* offset of the first record */
#define FPO_HEAD 16u     /* bytes of a record before its payload */
#define FPO_ALIGN 8u
#define FPO_MOST 65536u  /* bytes of a payload */
#define FPO_LARGEST (1u << 28) /* bytes of a segment: its records can be numbered with 24 bits */
#define FPO_NUMBERS 0xffffffu

/* length: of head and payload; word: kind << 24 | number in the segment. What follows is padded with zeros to FPO_ALIGN.
 * crc is that of token, sequence and offset (64 bits each), length, word and payload: a record is one only where it was
 * written, and who does not know the token can write none, not even inside a payload of his. */
typedef struct { _Atomic(uint32_t) length; uint32_t crc, marker, word; } fpo_head;
_Static_assert(sizeof(fpo_head) == FPO_HEAD, "the head of a record has no gaps");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "segments are little-endian");

typedef struct { uint32_t marker, seed; } fpo_key;
typedef struct { const uint8_t *payload; uint32_t size, word; } fpo_record;
enum { FPO_NOTHING = 0, FPO_CUT = -1, FPO_DAMAGED = -2 };

/* -- checksum: CRC-32C (Castagnoli), which x86 and ARM have an instruction for ------------------------------------- */

static inline uint32_t fpo_crc_plain(uint32_t crc, const uint8_t *data, size_t size) {
    static const uint32_t of_nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ of_nibble[crc & 15];
        crc = crc >> 4 ^ of_nibble[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__)
#define FPO_FAST __builtin_cpu_supports("sse4.2")
#define FPO_TARGET __attribute__((target("sse4.2")))
#define FPO_WORD(crc, word) ((uint32_t)__builtin_ia32_crc32di(crc, word))
#define FPO_BYTE(crc, byte) __builtin_ia32_crc32qi(crc, byte)
#elif defined(__aarch64__)
#define FPO_FAST (getauxval(AT_HWCAP) & (1 << 7)) /* HWCAP_CRC32 */
#define FPO_TARGET __attribute__((target("+crc")))
#define FPO_WORD(crc, word) __builtin_aarch64_crc32cx(crc, word)
#define FPO_BYTE(crc, byte) __builtin_aarch64_crc32cb(crc, byte)
#endif

#ifdef FPO_FAST
FPO_TARGET static inline uint32_t fpo_crc_fast(uint32_t crc, const uint8_t *data, size_t size) {
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        crc = FPO_WORD(crc, word);
    }
    for (; size > 0; data++, size--) crc = FPO_BYTE(crc, *data);
    return crc;
}
#endif

/* Without the inversions at both ends, which are their callers'. */
static inline uint32_t fpo_crc(uint32_t crc, const void *data, size_t size) {
#ifdef FPO_FAST
    if (FPO_FAST) return fpo_crc_fast(crc, data, size);
#endif
    return fpo_crc_plain(crc, data, size);
}

/* -- records ------------------------------------------------------------------------------------------------------- */

static inline fpo_key fpo_key_of(uint64_t token, uint32_t sequence) {
    const uint64_t words[2] = {token, sequence};
    return (fpo_key){(uint32_t)(token >> 32) | 1, fpo_crc(~0u, words, sizeof words)};
}

static inline uint32_t fpo_padded(uint32_t size) { return (size + FPO_HEAD + FPO_ALIGN - 1) & ~(FPO_ALIGN - 1); }

static inline uint32_t fpo_crc_of(fpo_key key, uint64_t offset, uint32_t length, uint32_t word, const uint8_t *data) {
    const uint64_t words[2] = {offset, (uint64_t)word << 32 | length};
    return ~fpo_crc(fpo_crc(key.seed, words, sizeof words), data, length - FPO_HEAD);
}

/* Writes a record of 1..FPO_MOST bytes at `offset`, where zeros are. The caller saw that it fits. */
static inline void fpo_put(uint8_t *base, uint32_t offset, fpo_key key, uint32_t word, const void *data, uint32_t size) {
    fpo_head *head = (fpo_head *)(base + offset);
    const uint32_t length = size + FPO_HEAD;
    memcpy(base + offset + FPO_HEAD, data, size);
    FP_CRASH_POINT();
    head->word = word;
    FP_CRASH_POINT();
    head->marker = key.marker;
    FP_CRASH_POINT();
    head->crc = fpo_crc_of(key, offset, length, word, data);
    FP_CRASH_POINT();
    atomic_store_explicit(&head->length, length, memory_order_release);
    FP_CRASH_POINT();
}

/* Looks at `size` bytes copied from `offset` of a segment. Above 0: a whole record, the bytes it takes, what it holds in
 * `record`. FPO_NOTHING: no record, or none yet. FPO_CUT: more bytes are needed to tell. FPO_DAMAGED: no record. */
static inline int64_t fpo_check(const uint8_t *data, size_t size, uint64_t offset, fpo_key key, fpo_record *record) {
    uint32_t head[4];
    if (size < FPO_HEAD) return FPO_CUT;
    memcpy(head, data, sizeof head);
    const uint32_t length = head[0];
    if (length == 0) return FPO_NOTHING;
    if (length <= FPO_HEAD || length > FPO_HEAD + FPO_MOST || head[2] != key.marker) return FPO_DAMAGED;
    if (length > size) return FPO_CUT;
    if (head[1] != fpo_crc_of(key, offset, length, head[3], data + FPO_HEAD)) return FPO_DAMAGED;
    *record = (fpo_record){data + FPO_HEAD, length - FPO_HEAD, head[3]};
    return fpo_padded(length - FPO_HEAD);
}

/* Where the first whole record begins in `size` bytes copied from `offset`; `size` when there is none. */
static inline size_t fpo_find(const uint8_t *data, size_t size, uint64_t offset, fpo_key key) {
    fpo_record record;
    for (size_t at = 0; at + FPO_HEAD <= size; at += FPO_ALIGN) {
        if (fpo_check(data + at, size - at, offset + at, key, &record) > 0) return at;
    }
    return size;
}

/* -- the seal: nothing more will be appended ------------------------------------------------------------------------ */

/* The end is a multiple of 8; the lowest bit says that it is the end of the writer's last segment, too. */
static inline uint64_t fpo_seal_word(fpo_key key, uint32_t end, bool last) {
    const uint64_t what = end | last;
    return (uint64_t)~fpo_crc(key.seed, &what, sizeof what) << 32 | what;
}

static inline void fpo_seal(uint8_t *base, fpo_key key, uint32_t end, bool last) {
    _Atomic(uint64_t) *seal = (_Atomic(uint64_t) *)(base + FPO_SEAL);
    atomic_store_explicit(seal, fpo_seal_word(key, end, last), memory_order_release);
    FP_CRASH_POINT();
}

/* Whether a seal is one, and what it says. */
static inline bool fpo_unseal(uint64_t word, fpo_key key, uint32_t *end, bool *last) {
    *end = (uint32_t)word & ~(FPO_ALIGN - 1);
    *last = word & 1;
    return word == fpo_seal_word(key, *end, *last);
}

#endif
