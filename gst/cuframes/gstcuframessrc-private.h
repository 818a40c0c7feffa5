/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcuframespacketsubscription.h"
#include "gstcuframessrc.h"
#include "gstcuframessrcsettings.h"
#include "gstcuframessubscription.h"
#include "gstcuframestiming.h"

G_BEGIN_DECLS

/* The element as its two files share it: gstcuframessrc.c is what GStreamer asks of it, gstcuframessrc-stream.c its streaming thread. */
struct _GstCuframesSrc
{
  GstPushSrc parent;

  GstCuframesSrcSettings settings;       /* under the object lock until it is open, and then as they are */
  gboolean open;                /* or about to be; under the object lock */
  CuframesSubscriber *subscriber;       /* once it is there; under the object lock */
  GstObject *cuda_context;      /* a GstCudaContext, from the neighbours or made here; under the element's lock */
  GstClockTime latency;         /* the publisher's */

  gboolean ending;              /* the application sent EOS; under the base class's live_lock */

  /* Streaming thread */
  gchar *path;                  /* of the channel's socket, or what to say instead */
  gboolean by_socket;           /* over a connection that the application made; there is no other */
  gint socket_fd;               /* that one until it is used; -1 */
  GstCuframesSubscription *subscription;
  GstCuframesPacketSubscription *packets;
  gboolean in_packets;          /* whether the newest format is one of packets */
  gboolean headers_in_stream;   /* the stream began with the headers that the caps carry */
  gboolean wants_headers;       /* the next packet is the first one of a format or connection */
  gboolean asked;               /* for a key unit, since the last packet */
  GQueue ready;                 /* buffers that come before whatever is next */
  GstCuframesPast past;
  gulong probe;                 /* that gives packets their own time stamps back; 0 before the first one */
  GstClockTime pts, dts;        /* of the packet that is to be pushed */
  GstCuframesGpu *gpu;          /* once a publisher's frames ask for one */
  GstCuframesTiming timing;
  gboolean was_connected;
  gboolean discont;

  guint64 overruns;             /* under the object lock */
};

GST_DEBUG_CATEGORY_EXTERN (gst_cuframes_src_debug);

void          gst_cuframes_src_set_flushing (GstCuframesSrc * self,
                                             gboolean flushing);

GstFlowReturn gst_cuframes_src_create       (GstPushSrc * src,
                                             GstBuffer ** buffer);

G_END_DECLS
