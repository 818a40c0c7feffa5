/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/video/video.h>

#include "cuframes.h"

G_BEGIN_DECLS

/**
 * GstCuframesPoolErrorFunction:
 * @user_data: what was given with it
 * @text: why the pool cannot start, and what to do about it
 *
 * Called when a pool cannot make its ring, in the thread that activates it.
 *
 * Since: 0.1
 */
typedef void (*GstCuframesPoolErrorFunction) (gpointer user_data, const gchar * text);

#define GST_TYPE_CUFRAMES_POOL (gst_cuframes_pool_get_type ())
CUFRAMES_API
G_DECLARE_FINAL_TYPE (GstCuframesPool, gst_cuframes_pool, GST, CUFRAMES_POOL, GstBufferPool)

CUFRAMES_API
GstBufferPool * gst_cuframes_pool_new            (guint slots);

CUFRAMES_API
void            gst_cuframes_pool_set_error_func (GstBufferPool * pool,
                                                  GstCuframesPoolErrorFunction func,
                                                  gpointer user_data,
                                                  GDestroyNotify notify);

CUFRAMES_API
CuframesRing *  gst_cuframes_pool_peek_ring      (GstBufferPool * pool);

G_END_DECLS
