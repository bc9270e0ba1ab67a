/* A kernel whose pages have 64 KiB, as far as a process can tell that is preloaded with this: the size that it says, and
 * that it syncs and populates a mapped file from the beginning of a page only. */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 65536 };
static uint8_t *mapped;
static size_t length;

long sysconf(int name) {
    extern long __sysconf(int);
    return name == _SC_PAGESIZE ? PAGE : __sysconf(name);
}

void *mmap(void *where, size_t size, int protection, int flags, int fd, off_t offset) {
    void *found = (void *)syscall(SYS_mmap, where, size, protection, flags, fd, offset);
    if (fd >= 0 && flags & MAP_SHARED && found != MAP_FAILED) {
        mapped = found; /* as good as aligned: what counts is where in it something begins */
        length = size;
    }
    return found;
}

void *mmap64(void *where, size_t size, int protection, int flags, int fd, off_t offset) {
    return mmap(where, size, protection, flags, fd, offset);
}

static int begins_inside_a_page(const void *start) {
    const uint8_t *at = start;
    return at >= mapped && at < mapped + length && (at - mapped) % PAGE;
}

int msync(void *start, size_t size, int flags) {
    if (!begins_inside_a_page(start)) return (int)syscall(SYS_msync, start, size, flags);
    errno = EINVAL;
    return -1;
}

int madvise(void *start, size_t size, int advice) {
    if (!begins_inside_a_page(start)) return (int)syscall(SYS_madvise, start, size, advice);
    errno = EINVAL;
    return -1;
}
