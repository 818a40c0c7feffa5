/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* The GstURIHandler of an element with the properties "channel" and "socket-path": cuframes://CHANNEL. */
void gst_cuframes_uri_handler_init (gpointer interface, gpointer data);

G_END_DECLS
