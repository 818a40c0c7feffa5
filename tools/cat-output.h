/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where cuframes-cat writes to, and the signals that end it. */
#ifndef CAT_OUTPUT_H
#define CAT_OUTPUT_H

#include <gst/video/video.h>
#include <poll.h>
#include <stdbool.h>

typedef enum
{
  CAT_OUTPUT_OK,
  CAT_OUTPUT_STOPPED,           /* by a signal */
  CAT_OUTPUT_CLOSED,            /* nobody reads any more */
  CAT_OUTPUT_FAILED,            /* errno says why */
} CatOutputResult;

void cat_output_catch_signals (void);
bool cat_output_is_stopped (void);
CatOutputResult cat_output_wait (struct pollfd *polls, unsigned count, int fd);
CatOutputResult cat_output_open (const char *name, int *ret_fd);
CatOutputResult cat_output_write (int fd, const void *bytes, size_t byte_count);
CatOutputResult cat_output_write_frame (int fd, const GstVideoFrame * frame);

#endif
