/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The terminal while cuframes-top has it. */
#ifndef TOP_SCREEN_H
#define TOP_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

bool top_screen_open (void);
void top_screen_close (void);
void top_screen_draw (char *text, unsigned *scroll);
bool top_screen_has_keys (void);
int top_screen_read_key (void);

#endif
