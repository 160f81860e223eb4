/* Preloaded into the program: writes down, in their order, everything it asks of the disk below the folder RECORD_BELOW,
   into the file RECORD_TO. A change stands there before its caller knows that it was done; a sync stands there twice, as it
   begins and as it has ended well. Nothing of this is in the program itself. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct __attribute__((packed)) head {
  char kind; /* w: write, t: truncate, b and e: sync, c: create, m: folder, u: unlink, r: rename, l: link */
  uint32_t thread;
  uint64_t at; /* offset of a write, size of a file that is cut */
  uint32_t name, other, bytes; /* lengths of what follows */
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static const char *below;

__attribute__((constructor)) static void open_record(void) {
  const char *to = getenv("RECORD_TO");
  below = getenv("RECORD_BELOW");
  if (to != NULL && below != NULL)
    record = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_below(const char *path) {
  return record >= 0 && path != NULL && strncmp(path, below, strlen(below)) == 0;
}

static void note(char kind, const char *name, const char *other, uint64_t at, const void *bytes, size_t size) {
  struct head head = {kind, syscall(SYS_gettid), at, strlen(name), other ? strlen(other) : 0, size};
  struct iovec parts[] = {{&head, sizeof head}, {(void *)name, head.name}, {(void *)other, head.other}, {(void *)bytes, size}};
  size_t whole = sizeof head + head.name + head.other + size;
  pthread_mutex_lock(&turn);
  if (syscall(SYS_writev, record, parts, 4) != (ssize_t)whole) abort();
  pthread_mutex_unlock(&turn);
}

/* The path behind a descriptor, if what happens to it is to be written down. */
static int path_of(int file, char *path) {
  struct stat about;
  char link[64];
  if (record < 0 || file == record || fstat(file, &about) != 0) return 0;
  if (!S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t size = readlink(link, path, PATH_MAX - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return is_below(path) && (size < 10 || strcmp(path + size - 10, " (deleted)") != 0);
}

static void written(int file, const void *from, ssize_t size, off_t at) {
  char path[PATH_MAX];
  if (size > 0 && path_of(file, path)) note('w', path, NULL, at < 0 ? lseek(file, 0, SEEK_CUR) - size : at, from, size);
}

ssize_t write(int file, const void *from, size_t size) {
  ssize_t done = syscall(SYS_write, file, from, size);
  written(file, from, done, -1);
  return done;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  ssize_t done = syscall(SYS_writev, file, parts, count), left = done;
  char path[PATH_MAX];
  if (done <= 0 || !path_of(file, path)) return done;
  off_t at = lseek(file, 0, SEEK_CUR) - done;
  for (int part = 0; left > 0; part++) {
    ssize_t size = (ssize_t)parts[part].iov_len < left ? (ssize_t)parts[part].iov_len : left;
    note('w', path, NULL, at, parts[part].iov_base, size);
    at += size;
    left -= size;
  }
  return done;
}

ssize_t pwrite64(int file, const void *from, size_t size, off64_t at) {
  ssize_t done = syscall(SYS_pwrite64, file, from, size, at);
  written(file, from, done, at);
  return done;
}
ssize_t pwrite(int file, const void *from, size_t size, off_t at) { return pwrite64(file, from, size, at); }

int ftruncate64(int file, off64_t size) {
  char path[PATH_MAX];
  int done = syscall(SYS_ftruncate, file, size);
  if (done == 0 && path_of(file, path)) note('t', path, NULL, size, NULL, 0);
  return done;
}
int ftruncate(int file, off_t size) { return ftruncate64(file, size); }

static int synced(long call, int file) {
  char path[PATH_MAX];
  int is_ours = path_of(file, path);
  if (is_ours) note('b', path, NULL, 0, NULL, 0);
  int done = syscall(call, file);
  if (is_ours && done == 0) note('e', path, NULL, 0, NULL, 0);
  return done;
}
int fsync(int file) { return synced(SYS_fsync, file); }
int fdatasync(int file) { return synced(SYS_fdatasync, file); }

static int opened(int folder, const char *name, int flags, mode_t mode) {
  char path[PATH_MAX];
  int file = syscall(SYS_openat, folder, name, flags, mode);
  if (file >= 0 && (flags & (O_CREAT | O_TRUNC)) && path_of(file, path)) {
    if (flags & O_CREAT) note('c', path, NULL, 0, NULL, 0);
    if (flags & O_TRUNC) note('t', path, NULL, 0, NULL, 0);
  }
  return file;
}
#define OPEN(function, folder, ...)                  \
  int function(__VA_ARGS__, int flags, ...) {        \
    va_list more;                                    \
    va_start(more, flags);                           \
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; \
    va_end(more);                                    \
    return opened(folder, name, flags, mode);        \
  }
OPEN(open, AT_FDCWD, const char *name)
OPEN(open64, AT_FDCWD, const char *name)
OPEN(openat, folder, int folder, const char *name)
OPEN(openat64, folder, int folder, const char *name)

int mkdir(const char *name, mode_t mode) {
  int done = syscall(SYS_mkdirat, AT_FDCWD, name, mode);
  if (done == 0 && is_below(name)) note('m', name, NULL, 0, NULL, 0);
  return done;
}

int unlink(const char *name) {
  int done = syscall(SYS_unlinkat, AT_FDCWD, name, 0);
  if (done == 0 && is_below(name)) note('u', name, NULL, 0, NULL, 0);
  return done;
}

int rename(const char *from, const char *to) {
  int done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  if (done == 0 && is_below(to)) note('r', from, to, 0, NULL, 0);
  return done;
}

int linkat(int near, const char *from, int far, const char *to, int flags) {
  int done = syscall(SYS_linkat, near, from, far, to, flags);
  if (done == 0 && is_below(to)) note('l', from, to, 0, NULL, 0);
  return done;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
