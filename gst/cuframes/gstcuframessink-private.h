/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcuframeskeyunits.h"
#include "gstcuframespacketpublication.h"
#include "gstcuframespublication.h"
#include "gstcuframessink.h"
#include "gstcuframessinksettings.h"
#include "gstcuframestiming.h"

G_BEGIN_DECLS

/* The element as its two files share it: gstcuframessink.c is what GStreamer asks of it, gstcuframessink-stream.c its streaming thread. */
struct _GstCuframesSink
{
  GstBaseSink parent;

  GstCuframesSinkSettings settings;      /* under the object lock until it is open, and then as they are */
  gboolean open;                /* or about to be; under the object lock */
  CuframesPublisher *publisher; /* once it is there; under the object lock */
  GArray *early;                /* descriptors of connections that were added before; under the object lock */
  GstObject *cuda_context;      /* a GstCudaContext, from the neighbours or made here; under the element's lock */

  /* Streaming thread */
  GstCuframesPublication *publication;
  GstCuframesPacketPublication *packets;
  gboolean has_caps;
  gboolean in_packets;          /* whether the stream is no raw video */
  GstCuframesGpu *gpu;          /* once caps ask for one */
  gboolean gpu_failed;          /* and there was none, which was said */
  GstCuframesTiming timing;
  GstClockTime told_latency, upstream_latency;
  gboolean ended;               /* subscribers were told so */
  gboolean waited;

  GstCuframesKeyUnits key_units;        /* any thread */
  gint latency_is_old;          /* upstream_latency is; atomic */
};

GST_DEBUG_CATEGORY_EXTERN (gst_cuframes_sink_debug);

void          gst_cuframes_sink_get_times     (GstBaseSink * sink,
                                               GstBuffer * buffer,
                                               GstClockTime * start,
                                               GstClockTime * end);

GstFlowReturn gst_cuframes_sink_render        (GstBaseSink * sink,
                                               GstBuffer * buffer);

void          gst_cuframes_sink_forward_event (GstCuframesSink * self,
                                               GstEvent * event);

void          gst_cuframes_sink_forget_end    (GstCuframesSink * self);

G_END_DECLS
