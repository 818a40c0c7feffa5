/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a channel's format says, in words. With GStreamer the caps, without it nothing. */
#ifndef TOP_FORMAT_H
#define TOP_FORMAT_H

#include <stdint.h>

/* Each is freed by the caller, and NULL if the format cannot be read. brief: such as "NV12 1920x1080 30/1". */
void top_format_describe (const void *bytes, uint32_t byte_count, char **ret_caps, char **ret_brief);

#endif
