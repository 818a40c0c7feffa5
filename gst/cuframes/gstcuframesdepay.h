/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_CUFRAMES_DEPAY (gst_cuframes_depay_get_type ())
G_DECLARE_FINAL_TYPE (GstCuframesDepay, gst_cuframes_depay, GST, CUFRAMES_DEPAY, GstElement)

GST_ELEMENT_REGISTER_DECLARE (cuframesdepay);

G_END_DECLS
