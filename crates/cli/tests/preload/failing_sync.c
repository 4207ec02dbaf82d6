/*
 * Loaded before the C library: a disk whose syncs fail while a file is there.
 *
 * FAILING_SYNC names that file. FAILING_SYNC_LOG names a file that gets a line for each write and sync of a
 * write-ahead log, in their order, so that a test can see what a start does before anything else.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 4) return 0;
    path[length] = 0;
    return strcmp(path + length - 4, "-wal") == 0;
}

static void note(const char *word) {
    const char *name = getenv("FAILING_SYNC_LOG");
    if (!name) return;
    int fd = open(name, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd < 0) return;
    ssize_t ignored = write(fd, word, strlen(word));
    (void)ignored;
    close(fd);
}

static int sync_or_fail(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!is_log(fd)) return real(fd);
    const char *broken = getenv("FAILING_SYNC");
    if (broken && access(broken, F_OK) == 0) {
        note("failed\n");
        errno = EIO;
        return -1;
    }
    int result = real(fd);
    note("sync\n");
    return result;
}

int fsync(int fd) { return sync_or_fail(fd, "fsync"); }
int fdatasync(int fd) { return sync_or_fail(fd, "fdatasync"); }

ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    ssize_t written = real(fd, from, length, at);
    if (is_log(fd)) {
        char line[64];
        snprintf(line, sizeof line, "write %lld\n", (long long)at);
        note(line);
    }
    return written;
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { return pwrite64(fd, from, length, at); }
