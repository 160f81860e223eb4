/* Preloaded into the program: while the file BREAK_BY exists, what its lines name fails as on a broken disk. A line is a call
   (write, sync, sync-folder, read) and a part of the paths of the files that it fails on, as "sync .db-wal". Nothing of this is in the program itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_broken(const char *call, int file) {
  char rules[4096], path[PATH_MAX], link[64], *rest = rules;
  const char *by = getenv("BREAK_BY");
  int open = by == NULL ? -1 : syscall(SYS_openat, AT_FDCWD, by, O_RDONLY | O_CLOEXEC);
  if (open < 0) return 0;
  ssize_t size = syscall(SYS_read, open, rules, sizeof rules - 1);
  syscall(SYS_close, open);
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (size <= 0 || length <= 0) return 0;
  rules[size] = path[length] = 0;
  for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
    size_t word = strlen(call);
    if (strncmp(line, call, word) == 0 && line[word] == ' ' && strstr(path, line + word + 1) != NULL) return 1;
  }
  return 0;
}

#define OR_BROKEN(call, file, done) \
  do {                              \
    if (is_broken(call, file)) {    \
      errno = EIO;                  \
      return -1;                    \
    }                               \
    return done;                    \
  } while (0)

ssize_t write(int file, const void *from, size_t size) { OR_BROKEN("write", file, syscall(SYS_write, file, from, size)); }
ssize_t pwrite64(int file, const void *from, size_t size, off64_t at) {
  OR_BROKEN("write", file, syscall(SYS_pwrite64, file, from, size, at));
}
ssize_t pwrite(int file, const void *from, size_t size, off_t at) { return pwrite64(file, from, size, at); }
ssize_t pread64(int file, void *to, size_t size, off64_t at) {
  OR_BROKEN("read", file, syscall(SYS_pread64, file, to, size, at));
}
ssize_t pread(int file, void *to, size_t size, off_t at) { return pread64(file, to, size, at); }

static const char *sync_of(int file) {
  struct stat about;
  return fstat(file, &about) == 0 && S_ISDIR(about.st_mode) ? "sync-folder" : "sync";
}
int fsync(int file) { OR_BROKEN(sync_of(file), file, syscall(SYS_fsync, file)); }
int fdatasync(int file) { OR_BROKEN(sync_of(file), file, syscall(SYS_fdatasync, file)); }
