/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_LIFE_H
#define CUFRAMES_LIFE_H

#include "cuframes-arena.h"

/* Reference-counted. */
struct _CuframesLife
{
  unsigned references;          /* atomic */
  int read_fd;                  /* for peers: hangs up with the last reference, or with this process */
  int write_fd;
};

int cuframes_life_new (CuframesLife ** ret_life);
CuframesLife *cuframes_life_ref (CuframesLife * life);
CuframesLife *cuframes_life_unref (CuframesLife * life);

#endif
