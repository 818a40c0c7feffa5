/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors that are not what a publisher says they are. */
#ifndef CORE_LIES_H
#define CORE_LIES_H

#include <stddef.h>

typedef enum
{
  LIE_A_PIPE,
  LIE_A_DIRECTORY,
  LIE_A_DEVICE,
  LIE_A_SOCKET,
  LIE_AN_ORDINARY_FILE,
  LIE_UNSEALED,
  LIE_TOO_SMALL,
  LIE_EMPTY,
  LIE_WRITE_SEALED,
  LIE_KINDS,
} LieKind;

/* A memory file of zeros; F_SEAL_* */
int lie_make_memfd (size_t bytes, unsigned seals);
/* To be taken for a sealed memory file of that size. */
int lie_make (LieKind kind, size_t bytes);

#endif
