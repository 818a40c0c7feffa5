/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The elements' enumerations as gst-launch-1.0 and gst-inspect-1.0 know them. */
#include "gstcuframesenums.h"

#define DEFINE_ENUM(function, name, values) \
  GType function (void) \
  { \
    static gsize type; \
    if (g_once_init_enter (&type)) \
      g_once_init_leave (&type, g_enum_register_static (name, values)); \
    return type; \
  }

static const GEnumValue overflow_values[] = {
  {CUFRAMES_OVERFLOW_DROP, "Drop the new frame", "drop"},
  {CUFRAMES_OVERFLOW_WAIT, "Wait for room, and for subscribers that read every frame, up to overflow-timeout", "wait"},
  {CUFRAMES_OVERFLOW_EVICT, "Take the subscriber that holds the oldest frame off the channel", "evict"},
  {0, NULL, NULL},
};

static const GEnumValue delivery_values[] = {
  {CUFRAMES_DELIVERY_FIFO, "Every frame in order; what was overwritten meanwhile is counted as missed", "fifo"},
  {CUFRAMES_DELIVERY_LATEST, "Always the newest frame", "latest"},
  {0, NULL, NULL},
};

static const GEnumValue start_values[] = {
  {CUFRAMES_START_LATEST, "With the newest frame that is there", "latest"},
  {CUFRAMES_START_NEXT, "With the first that is published from now on", "next"},
  {CUFRAMES_START_OLDEST, "With the oldest that is there", "oldest"},
  {0, NULL, NULL},
};

static const GEnumValue io_mode_values[] = {
  {GST_CUFRAMES_IO_MODE_AUTO, "Hold frames where they are; copy when max-leases are out", "auto"},
  {GST_CUFRAMES_IO_MODE_ZERO_COPY, "Hold frames where they are; wait when max-leases are out", "zero-copy"},
  {GST_CUFRAMES_IO_MODE_COPY, "Copy every frame and give it back at once", "copy"},
  {0, NULL, NULL},
};

static const GEnumValue timestamps_values[] = {
  {GST_CUFRAMES_TIMESTAMPS_SYNCHRONISED, "The moment at which the publisher would show the frame, on this pipeline's clock", "synchronised"},
  {GST_CUFRAMES_TIMESTAMPS_ORIGINAL, "The publisher's own time stamps and segments", "original"},
  {0, NULL, NULL},
};

static const GEnumValue gpu_sync_values[] = {
  {GST_CUFRAMES_GPU_SYNC_HOST, "The sink waits for the GPU before it announces the frame", "host"},
  {GST_CUFRAMES_GPU_SYNC_FENCE, "The frame is announced at once; the subscribers' GPU work waits for it", "fence"},
  {0, NULL, NULL},
};

/* *INDENT-OFF* */
DEFINE_ENUM (gst_cuframes_gpu_sync_get_type, "GstCuframesGpuSync", gpu_sync_values)
DEFINE_ENUM (gst_cuframes_overflow_get_type, "GstCuframesOverflow", overflow_values)
DEFINE_ENUM (gst_cuframes_delivery_get_type, "GstCuframesDelivery", delivery_values)
DEFINE_ENUM (gst_cuframes_start_get_type, "GstCuframesStart", start_values)
DEFINE_ENUM (gst_cuframes_io_mode_get_type, "GstCuframesIOMode", io_mode_values)
DEFINE_ENUM (gst_cuframes_timestamps_get_type, "GstCuframesTimestamps", timestamps_values)
/* *INDENT-ON* */

/* Properties are read once, on the way to PAUSED. */
void
gst_cuframes_warn_of_late_property (GstElement * element, const GParamSpec * spec)
{
  GST_ELEMENT_WARNING (element, RESOURCE, SETTINGS, ("Property %s can be set in the states NULL and READY only; it stays as it is", spec->name), (NULL));
}
