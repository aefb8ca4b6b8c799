/* Preloaded before the C library: counts the system calls of one operation, and makes the n-th one fail.
 *
 * fault_arm(at, count, error, kinds): calls number `at` to `at + count - 1` of the given kinds fail with
 * `error`; `at` 0 only counts. fault_disarm(): stop, and return how many calls of those kinds there were.
 * Only calls of the thread that armed are counted.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, CREATE = 2, READ = 4, WRITE = 8, SYNC = 16, NAME = 32, LOCK = 64, MAP = 128, STATUS = 256,
       CLOSE = 512, SIZE = 1024, LIST = 2048 };

static __thread long at, count, seen;
static __thread int failure, kinds, armed;

void fault_arm(long first, long many, int error, int which) {
    at = first, count = many, failure = error, kinds = which, seen = 0, armed = 1;
}

long fault_disarm(void) {
    armed = 0;
    return seen;
}

static int fails(int kind) {
    if (!armed || !(kinds & kind))
        return 0;
    seen++;
    if (!at || seen < at || seen >= at + count)
        return 0;
    errno = failure;
    return 1;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define WRAP(type, name, parameters, arguments, kind) \
    type name parameters { return fails(kind) ? (type)-1 : REAL(name) arguments; }

#define OPENING(name, parameters, before) \
    int name parameters { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        int writes = (flags & O_ACCMODE) != O_RDONLY; \
        if (fails(OPEN | (flags & O_CREAT ? CREATE : 0) | (writes ? NAME : 0))) \
            return -1; \
        return REAL(name) before; \
    }

OPENING(open, (const char *path, int flags, ...), (path, flags, mode))
OPENING(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENING(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPENING(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))

WRAP(ssize_t, read, (int fd, void *to, size_t size), (fd, to, size), READ)
WRAP(ssize_t, pread, (int fd, void *to, size_t size, off_t from), (fd, to, size, from), READ)
WRAP(ssize_t, pread64, (int fd, void *to, size_t size, off64_t from), (fd, to, size, from), READ)
WRAP(ssize_t, readv, (int fd, const struct iovec *to, int many), (fd, to, many), READ)
WRAP(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size), WRITE)
WRAP(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t to), (fd, from, size, to), WRITE)
WRAP(ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t to), (fd, from, size, to), WRITE)
WRAP(ssize_t, writev, (int fd, const struct iovec *from, int many), (fd, from, many), WRITE)
WRAP(int, fsync, (int fd), (fd), SYNC)
WRAP(int, fdatasync, (int fd), (fd), SYNC)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), SIZE)
WRAP(int, ftruncate64, (int fd, off64_t size), (fd, size), SIZE)
WRAP(int, rename, (const char *from, const char *to), (from, to), NAME)
WRAP(int, renameat, (int f, const char *from, int t, const char *to), (f, from, t, to), NAME)
WRAP(int, unlink, (const char *path), (path), NAME)
WRAP(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), NAME)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), NAME | CREATE)
WRAP(int, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), NAME | CREATE)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), NAME)
WRAP(int, flock, (int fd, int how), (fd, how), LOCK)
WRAP(int, stat, (const char *path, struct stat *to), (path, to), STATUS)
WRAP(int, lstat, (const char *path, struct stat *to), (path, to), STATUS)
WRAP(int, fstat, (int fd, struct stat *to), (fd, to), STATUS)
WRAP(int, fstatat, (int folder, const char *path, struct stat *to, int flags), (folder, path, to, flags), STATUS)
WRAP(int, stat64, (const char *path, struct stat64 *to), (path, to), STATUS)
WRAP(int, lstat64, (const char *path, struct stat64 *to), (path, to), STATUS)
WRAP(int, fstat64, (int fd, struct stat64 *to), (fd, to), STATUS)
WRAP(int, fstatat64, (int folder, const char *path, struct stat64 *to, int flags), (folder, path, to, flags), STATUS)

/* Giving a lock back cannot fail. */
static int takes_lock(int what, void *argument) {
    return (what == F_SETLK || what == F_SETLKW) && ((struct flock *)argument)->l_type != F_UNLCK;
}

int fcntl(int fd, int what, ...) {
    va_list more;
    va_start(more, what);
    void *argument = va_arg(more, void *);
    va_end(more);
    int locks = takes_lock(what, argument);
    return locks && fails(LOCK) ? -1 : REAL(fcntl)(fd, what, argument);
}

int fcntl64(int fd, int what, ...) {
    va_list more;
    va_start(more, what);
    void *argument = va_arg(more, void *);
    va_end(more);
    int locks = takes_lock(what, argument);
    return locks && fails(LOCK) ? -1 : REAL(fcntl64)(fd, what, argument);
}

void *mmap(void *where, size_t size, int how, int flags, int fd, off_t from) {
    return fd >= 0 && fails(MAP) ? MAP_FAILED : REAL(mmap)(where, size, how, flags, fd, from);
}

void *mmap64(void *where, size_t size, int how, int flags, int fd, off64_t from) {
    return fd >= 0 && fails(MAP) ? MAP_FAILED : REAL(mmap64)(where, size, how, flags, fd, from);
}

int close(int fd) { /* the descriptor is gone, whatever is reported */
    int result = REAL(close)(fd);
    return fails(CLOSE) ? -1 : result;
}

DIR *fdopendir(int fd) {
    return fails(LIST) ? NULL : REAL(fdopendir)(fd);
}

struct dirent64 *readdir64(DIR *folder) {
    return fails(LIST) ? NULL : REAL(readdir64)(folder);
}
