/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way from one connection to a camera, or one reading of a file, to encoded packets and decoded frames: a bin that lives as long as the
 * connection. It has a pad for each lane, once it is known that the source brings it. */
#ifndef PUBLISH_INPUT_H
#define PUBLISH_INPUT_H

#include <gst/gst.h>

#include "publish-decoder.h"
#include "publish-place.h"

typedef enum
{
  PUBLISH_LANE_FRAMES,
  PUBLISH_LANE_PACKETS,
  PUBLISH_LANE_AUDIO,
  PUBLISH_LANES,
} PublishLane;

extern const gchar *const publish_lane_names[PUBLISH_LANES];    /* of the pads too */

/* What comes in, over all connections. */
typedef struct
{
  GMutex lock;
  guint64 arrivals;             /* packets, those before the first key picture of a connection included */
  guint64 packets;
  guint64 bytes;                /* of them */
  guint64 skipped;              /* packets that the decoder was too slow for */
  GstClockTime end;             /* running time of the last packet's end; nothing before the first */
} PublishCounts;

typedef struct
{
  const PublishPlace *place;
  gboolean lanes[PUBLISH_LANES];        /* wanted */
  PublishDecoderKind decoder;
  guint latency_ms;
  const gchar *transport;       /* of RTSP */
  const gchar *caps;            /* (nullable): what to ask of a device */
  gboolean realtime;            /* for what is no live source */
  GstElement *pipeline;
  PublishCounts *counts;
} PublishInputConfig;

/* On the bus, as element messages of the bin. */
#define PUBLISH_INPUT_STARTED "cuframes-publish-started"        /* "decoder" string */
#define PUBLISH_INPUT_FAILED "cuframes-publish-failed"  /* "text" string, "final" boolean: another attempt would end the same way */
#define PUBLISH_INPUT_LACKS "cuframes-publish-lacks"    /* "text" string, "lane" int */

typedef struct _PublishInput PublishInput;

PublishInput *publish_input_new (const PublishInputConfig * config, GError ** error);
void publish_input_free (PublishInput * self);
GstElement *publish_input_peek_bin (const PublishInput * self);
gboolean publish_input_decodes_by_nvidia (const PublishInput * self);
gboolean publish_input_is_endless (const PublishInput * self);

#endif
