/* What the load programs in C share: a clock, a histogram, chance, files. */
#ifndef FP_LOAD_CLIENT_H
#define FP_LOAD_CLIENT_H

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BUCKETS = 8192 };
static const int64_t SECOND = 1000000000;
static uint64_t random_state;

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static double uniform(void) { /* (0, 1], xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (double)((random_state * 2685821657736338717ULL >> 11) + 1) / 9007199254740992.0;
}

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, file) != *size) die(path);
    fclose(file);
    return data;
}

/* -- log-linear histogram of nanoseconds: 128 buckets per power of two, error under 0.8 % */

struct histogram {
    uint64_t bucket[BUCKETS], count;
    double sum, max;
};

static void record(struct histogram *h, int64_t ns) {
    uint64_t v = ns > 0 ? (uint64_t)ns : 0;
    int shift = v < 256 ? 0 : 56 - __builtin_clzll(v);
    h->bucket[shift * 128 + (v >> shift)]++;
    h->count++;
    h->sum += (double)v;
    if ((double)v > h->max) h->max = (double)v;
}

static double percentile(const struct histogram *h, double share) {
    uint64_t rank = (uint64_t)ceil(share * (double)h->count), seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= rank && seen) {
            int shift = i < 256 ? 0 : i / 128 - 1;
            double low = i < 256 ? i : ldexp(i - shift * 128, shift);
            return fmin(low + ldexp(0.5, shift), h->max) / 1e6;
        }
    }
    return 0;
}

static void print_histogram(const char *name, const struct histogram *h) {
    double mean = h->count ? h->sum / (double)h->count / 1e6 : 0;
    printf("\"%s\":{\"count\":%llu,\"mean\":%.6f,\"p50\":%.6f,\"p90\":%.6f,\"p95\":%.6f,\"p99\":%.6f,\"p999\":%.6f,"
           "\"max\":%.6f}",
           name, (unsigned long long)h->count, mean, percentile(h, .5), percentile(h, .9), percentile(h, .95),
           percentile(h, .99), percentile(h, .999), h->max / 1e6);
}

#endif
