/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text that others wrote, such as the names of programs and channels, put where it can do no harm. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

void text_put (FILE * out, const char *text);
void text_put_field (FILE * out, const char *text, unsigned columns);
void text_put_clipped (FILE * out, const char *text, unsigned columns);
void text_put_json (FILE * out, const char *text);
bool text_parse_seconds (const char *text, uint64_t minimum_ns, uint64_t *ret_ns);
bool text_parse_count (const char *text, uint64_t *ret_count);

#endif
