/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The signals that end the program, for a loop that may be busy. */
#ifndef PUBLISH_SIGNALS_H
#define PUBLISH_SIGNALS_H

#include <glib.h>

int publish_signals_catch (void);
guint publish_signals_take (int fd);

#endif
