/* BLAKE2b with a key (RFC 7693), for inputs that are one piece: the block that holds the key is compressed once.
 *
 * Owns: the compression, a state that has its key, the hash of one input. Does not own: who compares hashes, or how.
 * Portable C; neither branch nor address depends on what is hashed, only on its size. Concurrency: a state never changes.
 */

#ifndef FP_BLAKE2B_H
#define FP_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FPB_BLOCK 128u
#define FPB_MOST_KEY 64u
#define FPB_MOST_OUT 64u

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they lie");

/* begun: before any block; keyed: behind the block of the key. Without a key they are the same. */
typedef struct {
    uint64_t begun[8], keyed[8];
    uint8_t key[FPB_BLOCK];
    uint32_t key_size, out_size;
} fpb_state;

static const uint64_t fpb_iv[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

static inline uint64_t fpb_turn(uint64_t x, int by) { return x >> by | x << (64 - by); }

#define FPB_MIX(a, b, c, d, x, y)                                                                                       \
    do {                                                                                                                \
        a += b + (x), d = fpb_turn(d ^ a, 32), c += d, b = fpb_turn(b ^ c, 24);                                         \
        a += b + (y), d = fpb_turn(d ^ a, 16), c += d, b = fpb_turn(b ^ c, 63);                                         \
    } while (0)

/* One round: the order in which it takes the words of the block. */
#define FPB_ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15)                                 \
    do {                                                                                                                \
        FPB_MIX(v0, v4, v8, v12, m[s0], m[s1]);                                                                         \
        FPB_MIX(v1, v5, v9, v13, m[s2], m[s3]);                                                                         \
        FPB_MIX(v2, v6, v10, v14, m[s4], m[s5]);                                                                        \
        FPB_MIX(v3, v7, v11, v15, m[s6], m[s7]);                                                                        \
        FPB_MIX(v0, v5, v10, v15, m[s8], m[s9]);                                                                        \
        FPB_MIX(v1, v6, v11, v12, m[s10], m[s11]);                                                                      \
        FPB_MIX(v2, v7, v8, v13, m[s12], m[s13]);                                                                       \
        FPB_MIX(v3, v4, v9, v14, m[s14], m[s15]);                                                                       \
    } while (0)

/* `end`: bytes up to the end of this block, the key's among them, fewer than 2**64. */
static inline void fpb_compress(uint64_t h[8], const uint8_t block[FPB_BLOCK], uint64_t end, int last) {
    uint64_t m[16];
    uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    uint64_t v8 = fpb_iv[0], v9 = fpb_iv[1], v10 = fpb_iv[2], v11 = fpb_iv[3];
    uint64_t v12 = fpb_iv[4] ^ end, v13 = fpb_iv[5], v14 = last ? ~fpb_iv[6] : fpb_iv[6], v15 = fpb_iv[7];
    memcpy(m, block, sizeof m);
    FPB_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    FPB_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    FPB_ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
    FPB_ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
    FPB_ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
    FPB_ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
    FPB_ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
    FPB_ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
    FPB_ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
    FPB_ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
    FPB_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    FPB_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    h[0] ^= v0 ^ v8, h[1] ^= v1 ^ v9, h[2] ^= v2 ^ v10, h[3] ^= v3 ^ v11;
    h[4] ^= v4 ^ v12, h[5] ^= v5 ^ v13, h[6] ^= v6 ^ v14, h[7] ^= v7 ^ v15;
}

/* key_size 0 to FPB_MOST_KEY, out_size 1 to FPB_MOST_OUT. */
static inline void fpb_begin(fpb_state *state, const uint8_t *key, uint32_t key_size, uint32_t out_size) {
    memset(state, 0, sizeof *state);
    state->key_size = key_size;
    state->out_size = out_size;
    memcpy(state->begun, fpb_iv, sizeof fpb_iv);
    state->begun[0] ^= 0x01010000 ^ key_size << 8 ^ out_size;
    memcpy(state->key, key, key_size);
    memcpy(state->keyed, state->begun, sizeof state->keyed);
    if (key_size > 0) fpb_compress(state->keyed, state->key, FPB_BLOCK, 0);
}

/* The hash of `data`: out_size bytes to `out`. */
static inline void fpb_hash(const fpb_state *state, const uint8_t *data, size_t size, uint8_t *out) {
    uint64_t h[8];
    uint8_t block[FPB_BLOCK];
    uint64_t end = state->key_size > 0 ? FPB_BLOCK : 0;
    if (size == 0 && state->key_size > 0) { /* the key's block is the last one */
        memcpy(h, state->begun, sizeof h);
        fpb_compress(h, state->key, end, 1);
    } else {
        memcpy(h, state->keyed, sizeof h);
        for (; size > FPB_BLOCK; data += FPB_BLOCK, size -= FPB_BLOCK) {
            end += FPB_BLOCK;
            fpb_compress(h, data, end, 0);
        }
        memset(block, 0, sizeof block);
        if (size > 0) memcpy(block, data, size);
        fpb_compress(h, block, end + size, 1);
    }
    memcpy(out, h, state->out_size);
}

#endif
