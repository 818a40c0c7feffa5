/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw video crosses a channel as frames, in those kinds of memory that can be shared; everything else crosses as packets, which are copied and so
 * must be readable by the CPU. Caps cannot say "anything but", so it is said here. Holds no state. */
#include "gstcuframescaps.h"

#include "gstcuframesenums.h"

#define RAW_VIDEO "video/x-raw"

gboolean
gst_cuframes_caps_are_frames (const GstCaps * caps)
{
  return !gst_caps_is_any (caps) && !gst_caps_is_empty (caps) && gst_structure_has_name (gst_caps_get_structure (caps, 0), RAW_VIDEO);
}

static GstCaps *
get_frame_caps (void)
{
  static GstStaticCaps frame_caps = GST_STATIC_CAPS (GST_CUFRAMES_VIDEO_CAPS);

  return gst_static_caps_get (&frame_caps);
}

static gboolean
is_readable (const GstCapsFeatures * features)
{
  return gst_caps_features_is_any (features) || gst_caps_features_contains (features, GST_CAPS_FEATURE_MEMORY_SYSTEM_MEMORY);
}

/* (transfer full): what of these caps can cross, in their order. */
GstCaps *
gst_cuframes_caps_filter (GstCaps * caps)
{
  GstCaps *fitting, *frame_caps = NULL;

  if (gst_caps_is_any (caps))
    return gst_caps_ref (caps);
  fitting = gst_caps_new_empty ();
  frame_caps = get_frame_caps ();
  for (guint i = 0; i < gst_caps_get_size (caps); i++) {
    GstCaps *one = gst_caps_copy_nth (caps, i);
    if (gst_cuframes_caps_are_frames (one)) {
      gst_caps_append (fitting, gst_caps_intersect_full (one, frame_caps, GST_CAPS_INTERSECT_FIRST));
      gst_caps_unref (one);
    } else if (is_readable (gst_caps_get_features (one, 0)))
      gst_caps_append (fitting, one);
    else
      gst_caps_unref (one);
  }
  gst_caps_unref (frame_caps);
  return fitting;
}

gboolean
gst_cuframes_caps_accept (GstCaps * caps)
{
  GstCaps *fitting = gst_cuframes_caps_filter (caps);
  const gboolean accepted = !gst_caps_is_empty (caps) && gst_caps_is_subset (caps, fitting);

  gst_caps_unref (fitting);
  return accepted;
}
