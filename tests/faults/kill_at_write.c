/* Preloaded into the program: kills it before its KILL_AT-th write, sync or truncation of any file. Nothing of this is
   in the program itself. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void step(void) {
  static atomic_long calls;
  const char *at = getenv("KILL_AT");
  if (at != NULL && atomic_fetch_add(&calls, 1) + 1 == atol(at)) kill(getpid(), SIGKILL);
}

ssize_t write(int file, const void *from, size_t size) {
  step();
  return syscall(SYS_write, file, from, size);
}

ssize_t pwrite(int file, const void *from, size_t size, off_t at) {
  step();
  return syscall(SYS_pwrite64, file, from, size, at);
}

ssize_t pwrite64(int file, const void *from, size_t size, off64_t at) {
  step();
  return syscall(SYS_pwrite64, file, from, size, at);
}

int fsync(int file) {
  step();
  return syscall(SYS_fsync, file);
}

int fdatasync(int file) {
  step();
  return syscall(SYS_fdatasync, file);
}

int ftruncate(int file, off_t size) {
  step();
  return syscall(SYS_ftruncate, file, size);
}

int ftruncate64(int file, off64_t size) {
  step();
  return syscall(SYS_ftruncate, file, size);
}
