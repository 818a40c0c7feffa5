/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the fuzzing targets share: the entry that libFuzzer or fuzz-driver.c calls, and an input that is taken apart piece by piece. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize (int *argc, char ***argv) __attribute__ ((weak));
int LLVMFuzzerTestOneInput (const uint8_t * data, size_t size);
void cuframes_testpoint (const char *name);

/* What must hold whatever the input is. */
#define FUZZ_REQUIRE(condition) \
  do { if (!(condition)) { fprintf (stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); abort (); } } while (0)

typedef struct
{
  const uint8_t *bytes;
  size_t size;
} FuzzInput;

/* Little-endian, of that many bytes; zeros where the input has ended. */
static inline uint64_t
fuzz_take (FuzzInput *input, size_t byte_count)
{
  const size_t taken = byte_count < input->size ? byte_count : input->size;
  uint64_t value = 0;

  if (taken > 0)
    memcpy (&value, input->bytes, taken);
  input->bytes += taken;
  input->size -= taken;
  return value;
}

/* At most that many bytes of what is left. */
static inline FuzzInput
fuzz_take_bytes (FuzzInput *input, size_t byte_count)
{
  const FuzzInput taken = { input->bytes, byte_count < input->size ? byte_count : input->size };

  input->bytes += taken.size;
  input->size -= taken.size;
  return taken;
}

#endif
