/* Eight bytes of text looked at in one register. Pure functions. */
#ifndef FP_SWAR_H
#define FP_SWAR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FP_EVERY(byte) (UINT64_C(0x0101010101010101) * (byte))
#define FP_ZERO_BYTES(x) (((x) - FP_EVERY(1)) & ~(x))

/* Eight bytes, the first in memory as the lowest, on any machine and at any alignment. */
static inline uint64_t fp_load(const unsigned char *p) {
    uint64_t x;
    memcpy(&x, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

/* Nonzero when a byte is a quote, a backslash or a control character. Borrows spoil only bytes above a true hit, so
   the lowest set bit is exact. */
static inline uint64_t fp_escape_stops(uint64_t x) {
    uint64_t quote = x ^ FP_EVERY(0x22), backslash = x ^ FP_EVERY(0x5c);
    uint64_t control = (x - FP_EVERY(0x20)) & ~x;
    return (FP_ZERO_BYTES(quote) | FP_ZERO_BYTES(backslash) | control) & FP_EVERY(0x80);
}

/* The same, or not ASCII. */
static inline uint64_t fp_string_stops(uint64_t x) { return fp_escape_stops(x) | (x & FP_EVERY(0x80)); }

static inline int fp_first(uint64_t stops) { return __builtin_ctzll(stops) >> 3; }

#ifdef __SSE2__
#include <emmintrin.h>

/* Bit i: byte i of sixteen is a quote, a backslash, a control character or not ASCII. */
static inline unsigned fp_string_stops_16(const unsigned char *p) {
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i stops = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(0x22)), _mm_cmpeq_epi8(x, _mm_set1_epi8(0x5c)));
    /* Signed: what is not ASCII is negative, and below a space too. */
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(stops, _mm_cmplt_epi8(x, _mm_set1_epi8(0x20))));
}
#endif

/* The first byte of a string, at or after `at`, that is not plain ASCII text, or `size`. */
static inline ptrdiff_t fp_find_stop(const unsigned char *p, ptrdiff_t at, ptrdiff_t size) {
#ifdef __SSE2__
    while (size - at >= 16) {
        unsigned stops = fp_string_stops_16(p + at);
        if (stops) return at + __builtin_ctz(stops);
        at += 16;
    }
#endif
    while (size - at >= 8) {
        uint64_t stops = fp_string_stops(fp_load(p + at));
        if (stops) return at + fp_first(stops);
        at += 8;
    }
    while (at < size && p[at] >= 0x20 && p[at] < 0x80 && p[at] != 0x22 && p[at] != 0x5c) at++;
    return at;
}

#endif
