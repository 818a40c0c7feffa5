/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Channels as a table for people and as JSON for machines. */
#ifndef TOP_SHOW_H
#define TOP_SHOW_H

#include <stdio.h>

#include "top-channels.h"

void top_show_table (FILE * out, const TopChannels * channels, TopOrder order, bool with_subscribers);
void top_show_json (FILE * out, const TopChannels * channels);

#endif
