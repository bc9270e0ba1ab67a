/* HMAC-SHA-256 (RFC 2104, FIPS 180-4) of short messages under one key.
 *
 * Owns: the compression function, twice: with the processor's instructions where it has them (x86), and without. Does
 * not own the key. Pure, no allocation. */
#ifndef FP_HMAC256_H
#define FP_HMAC256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FPH_BLOCK 64u
#define FPH_SIZE 32u

typedef struct { uint32_t words[8]; } fph_state;
typedef struct { fph_state inner, outer; } fph_key;

static const uint32_t fph_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t fph_load(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint32_t fph_turn(uint32_t word, int by) { return word >> by | word << (32 - by); }

static inline void fph_compress_plain(fph_state *state, const uint8_t *block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++) w[i] = fph_load(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t low = fph_turn(w[i - 15], 7) ^ fph_turn(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t high = fph_turn(w[i - 2], 17) ^ fph_turn(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + low + w[i - 7] + high;
    }
    memcpy(s, state->words, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = fph_turn(s[4], 6) ^ fph_turn(s[4], 11) ^ fph_turn(s[4], 25);
        uint32_t a = fph_turn(s[0], 2) ^ fph_turn(s[0], 13) ^ fph_turn(s[0], 22);
        uint32_t one = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + fph_k[i] + w[i];
        uint32_t two = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) state->words[i] += s[i];
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

static inline bool fph_is_fast(void) {
    uint32_t a, b = 0, c, d;
    return __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}

/* The instructions hold the state as a, b, e, f and c, d, g, h, highest word first, and do two rounds each. */
__attribute__((target("sha,sse4.1"))) static inline void fph_compress_fast(fph_state *state, const uint8_t *block) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    const uint32_t *s = state->words;
    __m128i abef = _mm_set_epi32((int)s[0], (int)s[1], (int)s[4], (int)s[5]);
    __m128i cdgh = _mm_set_epi32((int)s[2], (int)s[3], (int)s[6], (int)s[7]);
    __m128i first = abef, second = cdgh, w[16];
    uint32_t out[8];
    for (int i = 0; i < 4; i++) w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), swap);
    for (int i = 4; i < 16; i++) {
        __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i - 4], w[i - 3]), _mm_alignr_epi8(w[i - 1], w[i - 2], 4));
        w[i] = _mm_sha256msg2_epu32(sum, w[i - 1]);
    }
    for (int i = 0; i < 16; i++) {
        __m128i word = _mm_add_epi32(w[i], _mm_loadu_si128((const __m128i *)(fph_k + 4 * i)));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, word);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(word, 0x0e));
    }
    _mm_storeu_si128((__m128i *)out, _mm_add_epi32(abef, first));
    _mm_storeu_si128((__m128i *)(out + 4), _mm_add_epi32(cdgh, second));
    const uint32_t in_order[8] = {out[3], out[2], out[7], out[6], out[1], out[0], out[5], out[4]};
    memcpy(state->words, in_order, sizeof in_order);
}
#else
static inline bool fph_is_fast(void) { return false; }
static inline void fph_compress_fast(fph_state *state, const uint8_t *block) { fph_compress_plain(state, block); }
#endif

static inline void fph_compress(fph_state *state, const uint8_t *block, bool fast) {
    if (fast) fph_compress_fast(state, block);
    else fph_compress_plain(state, block);
}

/* The digest of `size` bytes behind one whole block that `state` has taken. */
static inline void fph_finish(fph_state state, const uint8_t *data, size_t size, uint8_t *digest, bool fast) {
    uint64_t bits = ((uint64_t)size + FPH_BLOCK) * 8;
    uint8_t block[FPH_BLOCK];
    for (; size >= FPH_BLOCK; data += FPH_BLOCK, size -= FPH_BLOCK) fph_compress(&state, data, fast);
    memset(block, 0, sizeof block);
    memcpy(block, data, size);
    block[size] = 0x80;
    if (size >= FPH_BLOCK - 8) {
        fph_compress(&state, block, fast);
        memset(block, 0, sizeof block);
    }
    for (int i = 0; i < 8; i++) block[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
    fph_compress(&state, block, fast);
    for (int i = 0; i < 32; i++) digest[i] = (uint8_t)(state.words[i / 4] >> (24 - 8 * (i % 4)));
}

/* secret: at most FPH_BLOCK bytes. */
static inline void fph_begin(fph_key *key, const uint8_t *secret, size_t size, bool fast) {
    static const fph_state start = {{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
    uint8_t inner[FPH_BLOCK], outer[FPH_BLOCK];
    for (size_t i = 0; i < FPH_BLOCK; i++) {
        uint8_t byte = i < size ? secret[i] : 0;
        inner[i] = byte ^ 0x36;
        outer[i] = byte ^ 0x5c;
    }
    key->inner = key->outer = start;
    fph_compress(&key->inner, inner, fast);
    fph_compress(&key->outer, outer, fast);
}

static inline void fph_sign(const fph_key *key, const uint8_t *data, size_t size, uint8_t *digest, bool fast) {
    uint8_t middle[FPH_SIZE];
    fph_finish(key->inner, data, size, middle, fast);
    fph_finish(key->outer, middle, FPH_SIZE, digest, fast);
}
#endif
