/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_CUFRAMES_PAY (gst_cuframes_pay_get_type ())
G_DECLARE_FINAL_TYPE (GstCuframesPay, gst_cuframes_pay, GST, CUFRAMES_PAY, GstElement)

GST_ELEMENT_REGISTER_DECLARE (cuframespay);

G_END_DECLS
