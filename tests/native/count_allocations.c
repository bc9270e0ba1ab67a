/* Counts what the interpreter's object allocator is asked for. Loaded by test_allocations.py; never part of the product. */
#include <Python.h>

static PyMemAllocatorEx original;
static long long counted;

static void *counting_malloc(void *ctx, size_t size) { counted++; return original.malloc(ctx, size); }
static void *counting_calloc(void *ctx, size_t n, size_t size) { counted++; return original.calloc(ctx, n, size); }
static void *counting_realloc(void *ctx, void *block, size_t size) { counted++; return original.realloc(ctx, block, size); }
static void plain_free(void *ctx, void *block) { original.free(ctx, block); }

void begin_counting(void) {
    PyMemAllocatorEx hook;
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &original);
    hook = original;
    hook.malloc = counting_malloc;
    hook.calloc = counting_calloc;
    hook.realloc = counting_realloc;
    hook.free = plain_free;
    counted = 0;
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &hook);
}

long long end_counting(void) {
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &original);
    return counted;
}
