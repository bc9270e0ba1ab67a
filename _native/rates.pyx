"""Prices as a request multiplies them. See rates.pyi for the contract."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>

    #define FP_PICO_PER_NANO 1000
    #define FP_PPM 1000000

    /* Pico-units, marked up, as nano-units: half to even. -1: more than a ledger holds. pico: not negative. */
    static inline int64_t fp_nano(unsigned __int128 pico, int64_t markup) {
        const unsigned __int128 divisor = (unsigned __int128) FP_PICO_PER_NANO * FP_PPM;
        unsigned __int128 marked, quotient, rest;
        if (markup == 0) {
            quotient = pico / FP_PICO_PER_NANO;
            rest = (pico - quotient * FP_PICO_PER_NANO) * FP_PPM;
        } else {
            marked = pico * (uint64_t) (FP_PPM + markup);
            quotient = marked / divisor;
            rest = marked - quotient * divisor;
        }
        if (2 * rest > divisor || (2 * rest == divisor && (quotient & 1)))
            quotient++;
        return quotient > ((unsigned __int128) 1 << 62) ? -1 : (int64_t) quotient;
    }

    static inline unsigned __int128 fp_times(int64_t tokens, int64_t rate) {
        return (unsigned __int128) (uint64_t) tokens * (uint64_t) rate;
    }

    static inline int64_t fp_bill(int64_t a, int64_t p, int64_t b, int64_t q, int64_t c, int64_t r, int64_t d,
                                  int64_t s, int64_t request, int64_t markup) {
        return fp_nano(fp_times(a, p) + fp_times(b, q) + fp_times(c, r) + fp_times(d, s) + (uint64_t) request, markup);
    }
    """
    int64_t fp_bill(int64_t a, int64_t p, int64_t b, int64_t q, int64_t c, int64_t r, int64_t d, int64_t s,
                    int64_t request, int64_t markup) noexcept

# With both below these a sum of four products, marked up, stays far below 2**127.
cdef int64_t MOST_TOKENS = <int64_t> 1 << 40
cdef int64_t MOST_RATE = <int64_t> 1 << 50


cdef class Rates:

    def __init__(
        self, int64_t input, int64_t cached, int64_t output, int64_t reasoning, int64_t request,
        int64_t dearest_prompt, int64_t dearest_answer, int64_t markup_ppm=0, int64_t long_from=0,
    ):
        rates = (input, cached, output, reasoning, request, dearest_prompt, dearest_answer)
        if min(rates) < 0 or max(rates) > MOST_RATE or not 0 <= markup_ppm <= 1 << 30 or long_from < 0:
            raise ValueError("a price out of all bounds")
        self.input, self.cached, self.output, self.reasoning, self.request = input, cached, output, reasoning, request
        self.dearest_prompt, self.dearest_answer = dearest_prompt, dearest_answer
        self.markup, self.long_from = markup_ppm, long_from

    cpdef int64_t bill(self, int64_t prompt, int64_t cached, int64_t answer, int64_t reasoning) noexcept:
        if not (0 <= cached <= prompt < MOST_TOKENS and 0 <= reasoning <= answer < MOST_TOKENS):
            return -1
        if self.long_from and prompt > self.long_from:
            return -1
        return fp_bill(prompt - cached, self.input, cached, self.cached, answer - reasoning, self.output,
                       reasoning, self.reasoning, self.request, self.markup)

    cpdef int64_t most(self, int64_t prompt, int64_t answer) noexcept:
        if not (0 <= prompt < MOST_TOKENS and 0 <= answer < MOST_TOKENS):
            return -1
        if self.long_from and prompt > self.long_from:
            return -1
        return fp_bill(prompt, self.dearest_prompt, answer, self.dearest_answer, 0, 0, 0, 0, self.request, self.markup)


cpdef bytes nano_text(int64_t nano):
    cdef char text[32]
    cdef int at = 32
    cdef int decimals = 9
    cdef bint begun = False
    cdef bint negative = nano < 0
    cdef uint64_t left = <uint64_t> nano if not negative else <uint64_t> 0 - <uint64_t> nano
    while decimals or left or at == 32 or text[at] == c".":
        if decimals:
            decimals -= 1
            begun = begun or left % 10 != 0
            if begun:
                at -= 1
                text[at] = <char> (c"0" + left % 10)
            left = left // 10
            if not decimals and begun:
                at -= 1
                text[at] = c"."
        else:
            at -= 1
            text[at] = <char> (c"0" + left % 10)
            left = left // 10
    if negative:
        at -= 1
        text[at] = c"-"
    return PyBytes_FromStringAndSize(text + at, 32 - at)


cpdef bytes decimal_text(int64_t number):
    cdef char text[20]
    cdef int at = 20
    cdef uint64_t left = <uint64_t> number if number >= 0 else <uint64_t> 0 - <uint64_t> number
    while left or at == 20:
        at -= 1
        text[at] = <char> (c"0" + left % 10)
        left = left // 10
    if number < 0:
        at -= 1
        text[at] = c"-"
    return PyBytes_FromStringAndSize(text + at, 20 - at)
