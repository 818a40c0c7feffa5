/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core-fixture.h"

const FixturePart core_part = {.roles = core_roles,.role_count = &core_role_count,.mappings = "memfd:" };

void
fill_words (uint64_t *words, size_t byte_count, uint64_t number)
{
  for (size_t i = 0; i < byte_count / sizeof *words; i++)
    words[i] = number ^ i * UINT64_C (0x9e3779b97f4a7c15);
}

bool
words_are_of (const uint64_t *words, size_t byte_count, uint64_t number)
{
  for (size_t i = 0; i < byte_count / sizeof *words; i++)
    if (words[i] != (number ^ i * UINT64_C (0x9e3779b97f4a7c15)))
      return false;
  return true;
}
