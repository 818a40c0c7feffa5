/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_CUFRAMES_DEVICE_PROVIDER (gst_cuframes_device_provider_get_type ())
G_DECLARE_FINAL_TYPE (GstCuframesDeviceProvider, gst_cuframes_device_provider, GST, CUFRAMES_DEVICE_PROVIDER, GstDeviceProvider)

GST_DEVICE_PROVIDER_REGISTER_DECLARE (cuframesdeviceprovider);

G_END_DECLS
