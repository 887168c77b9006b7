/* Counts the allocations of a process, its libraries' among them, by standing before those of
   glibc. Only the executable that counts has this. */

#include <stdatomic.h>
#include <stddef.h>

extern atomic_uint_least64_t compare_allocations;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static void count(void) {
  atomic_fetch_add_explicit(&compare_allocations, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
  count();
  return __libc_malloc(size);
}

void *calloc(size_t members, size_t size) {
  count();
  return __libc_calloc(members, size);
}

void *realloc(void *block, size_t size) {
  count();
  return __libc_realloc(block, size);
}
