/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formats are caps, which only GStreamer can read. */
#include "top-format.h"

#include <stddef.h>

void
top_format_describe (const void *bytes, uint32_t byte_count, char **ret_caps, char **ret_brief)
{
  *ret_caps = *ret_brief = NULL;
}
