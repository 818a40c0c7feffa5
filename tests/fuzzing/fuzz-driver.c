/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a target without libFuzzer: every file of the corpora as it is, then changes of them at random for as long as told. It does not know what
 * the target has reached, so it finds less in the same time; but it needs no more than a compiler, and so it always runs.
 *
 * usage: fuzz-TARGET [--seconds N] [--seed N] FILE-OR-FOLDER... */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_BYTES_MAX 4096u
#define SEEDS_MAX 1024u

typedef struct
{
  uint8_t *bytes;
  size_t size;
} Seed;

static Seed seeds[SEEDS_MAX];
static size_t seed_count;
static uint64_t random_state;
/* The input that runs, for the last words. */
static const uint8_t *now_bytes;
static size_t now_size;

void __sanitizer_set_death_callback (void (*callback) (void)) __attribute__ ((weak));

static uint64_t
next_random (void)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* Keeps the input that the target fell over. */
static void
keep_input (void)
{
  char name[64];
  int fd;

  snprintf (name, sizeof name, "crash-%d", (int) getpid ());
  fd = open (name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write (fd, now_bytes, now_size) != (ssize_t) now_size)
    fprintf (stderr, "the input could not be kept in %s\n", name);
  else
    fprintf (stderr, "the input of %zu bytes is in %s\n", now_size, name);
}

static void
on_signal (int number)
{
  keep_input ();
  signal (number, SIG_DFL);
  raise (number);
}

static void
run (const uint8_t *bytes, size_t size)
{
  /* a copy of just that size, so that a step beyond its end is seen */
  uint8_t *copy = malloc (size + (size == 0));

  if (size > 0)
    memcpy (copy, bytes, size);
  now_bytes = copy;
  now_size = size;
  LLVMFuzzerTestOneInput (copy, size);
  free (copy);
}

static bool
add_file (const char *path)
{
  FILE *file = fopen (path, "re");
  uint8_t *bytes;

  if (file == NULL || seed_count == SEEDS_MAX) {
    fprintf (stderr, "%s: %s\n", path, file == NULL ? strerror (errno) : "too many seeds");
    return false;
  }
  bytes = malloc (INPUT_BYTES_MAX);
  seeds[seed_count++] = (Seed) { bytes, fread (bytes, 1, INPUT_BYTES_MAX, file) };
  fclose (file);
  return true;
}

static int
is_visible (const struct dirent *entry)
{
  return entry->d_name[0] != '.';
}

static bool
add (const char *path)
{
  struct dirent **entries = NULL;
  struct stat status;
  bool good = true;
  int count;

  if (stat (path, &status) != 0 || !S_ISDIR (status.st_mode))
    return add_file (path);
  count = scandir (path, &entries, is_visible, alphasort);
  for (int i = 0; i < count; i++) {
    char *name = NULL;

    good = asprintf (&name, "%s/%s", path, entries[i]->d_name) > 0 && add_file (name) && good;
    free (name);
    free (entries[i]);
  }
  free (entries);
  return good && count > 0;
}

static size_t
insert (uint8_t *bytes, size_t size, size_t at, const uint8_t *what, size_t what_size)
{
  if (what_size > INPUT_BYTES_MAX - size)
    what_size = INPUT_BYTES_MAX - size;
  memmove (bytes + at + what_size, bytes + at, size - at);
  memcpy (bytes + at, what, what_size);
  return size + what_size;
}

/* One small change; the new size. */
static size_t
change (uint8_t *bytes, size_t size)
{
  static const uint64_t values[] = { 0, 1, 2, 3, 4, 16, 63, 64, 65, 127, 128, 255, 256, 4096, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 1 };
  const Seed *other = &seeds[next_random () % seed_count];
  const size_t at = size == 0 ? 0 : next_random () % size, left = size - at;
  size_t count = 1 + next_random () % 16;
  uint64_t value = next_random ();

  switch (next_random () % 8) {
    case 0:
      if (size > 0)
        bytes[at] ^= (uint8_t) (1u << next_random () % 8);
      return size;
    case 1:
      if (size > 0)
        bytes[at] = (uint8_t) value;
      return size;
    case 2:
      value = values[next_random () % (sizeof values / sizeof values[0])];
      count = (size_t) 1 << next_random () % 4;
      memcpy (bytes + at, &value, count < left ? count : left);
      return size;
    case 3:
      count = count < left ? count : left;
      memmove (bytes + at, bytes + at + count, left - count);
      return size - count;
    case 4:
      return insert (bytes, size, at, (uint8_t *) &value, next_random () % sizeof value);
    case 5:
      if (other->size == 0)
        return size;
      value = next_random () % other->size;
      return insert (bytes, size, at, other->bytes + value, 1 + next_random () % (other->size - value));
    case 6:
      return at;
    default:
      if (size > 0)
        bytes[at] = (uint8_t) (bytes[at] + (value % 2 == 0 ? 1 : -1));
      return size;
  }
}

static double
now_seconds (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static unsigned long
mutate (double seconds)
{
  const double end = now_seconds () + seconds;
  uint8_t *bytes = malloc (INPUT_BYTES_MAX);
  unsigned long runs = 0;

  for (; seconds > 0 && (runs % 16 != 0 || now_seconds () < end); runs++) {
    const Seed *seed = &seeds[next_random () % seed_count];
    size_t size = seed->size;

    memcpy (bytes, seed->bytes, size);
    for (uint64_t i = 1 + next_random () % 8; i > 0; i--)
      size = change (bytes, size);
    run (bytes, size);
  }
  free (bytes);
  return runs;
}

int
main (int argc, char **argv)
{
  uint64_t seed = (uint64_t) time (NULL) ^ (uint64_t) getpid () << 32;
  double seconds = 0;
  unsigned long runs;
  bool good = true;

  if (LLVMFuzzerInitialize != NULL)
    LLVMFuzzerInitialize (&argc, &argv);
  if (__sanitizer_set_death_callback != NULL)
    __sanitizer_set_death_callback (keep_input);
  signal (SIGABRT, on_signal);
  for (int i = 1; i < argc; i++) {
    if (strcmp (argv[i], "--seconds") == 0 && i + 1 < argc)
      seconds = atof (argv[++i]);
    else if (strcmp (argv[i], "--seed") == 0 && i + 1 < argc)
      seed = strtoull (argv[++i], NULL, 10);
    else
      good = add (argv[i]) && good;
  }
  if (!good || seed_count == 0) {
    fprintf (stderr, "usage: %s [--seconds N] [--seed N] FILE-OR-FOLDER...\n", argv[0]);
    return 2;
  }
  for (size_t i = 0; i < seed_count; i++)
    run (seeds[i].bytes, seeds[i].size);
  printf ("%zu inputs of the corpus, then changes of them for %g s from seed %llu\n", seed_count, seconds, (unsigned long long) seed);
  fflush (stdout);
  random_state = seed | 1;
  runs = mutate (seconds);
  for (size_t i = 0; i < seed_count; i++)
    free (seeds[i].bytes);
  printf ("%lu runs\n1 passed, 0 failed\n", runs);
  return 0;
}
