/* Preloaded into deliver: makes writes and syncs of the store's files fail while a file says so.
 *
 * DISK_FAULTS is a folder; the files "write" and "sync" in it hold the number of the error that
 * such calls fail with. DISK_FAULTS_OF is the path that the store's files start with.
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

static int fault(int fd, const char *what)
{
    const char *folder = getenv("DISK_FAULTS"), *prefix = getenv("DISK_FAULTS_OF");
    char link[64], path[4096], text[16] = "";
    ssize_t length;
    int file;

    if (!folder || !prefix)
        return 0;
    snprintf(path, sizeof path, "%s/%s", folder, what);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    length = read(file, text, sizeof text - 1);
    close(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (length <= 0 || (length = readlink(link, path, sizeof path - 1)) < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, prefix, strlen(prefix)) ? 0 : atoi(text);
}

#define FAILING(result, name, what, parameters, ...)                                           \
    result name parameters                                                                     \
    {                                                                                          \
        static result(*real) parameters;                                                       \
        int error = fault(fd, what);                                                           \
        if (error) {                                                                           \
            errno = error;                                                                     \
            return -1;                                                                         \
        }                                                                                      \
        if (!real)                                                                             \
            real = (result(*) parameters)dlsym(RTLD_NEXT, #name);                              \
        return real(__VA_ARGS__);                                                              \
    }

FAILING(int, fsync, "sync", (int fd), fd)
FAILING(int, fdatasync, "sync", (int fd), fd)
FAILING(ssize_t, pwrite, "write", (int fd, const void *data, size_t size, off_t at), fd, data,
        size, at)
FAILING(ssize_t, pwrite64, "write", (int fd, const void *data, size_t size, off64_t at), fd,
        data, size, at)
