/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "gstcuframeswatcher.h"

G_BEGIN_DECLS

#define GST_TYPE_CUFRAMES_DEVICE (gst_cuframes_device_get_type ())
G_DECLARE_FINAL_TYPE (GstCuframesDevice, gst_cuframes_device, GST, CUFRAMES_DEVICE, GstDevice)

GstDevice * gst_cuframes_device_new (const GstCuframesChannelInfo * info);

G_END_DECLS
