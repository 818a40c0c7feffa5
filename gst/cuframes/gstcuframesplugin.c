/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstcuframesdepay.h"
#include "gstcuframesdeviceprovider.h"
#include "gstcuframespay.h"
#include "gstcuframessink.h"
#include "gstcuframessrc.h"

static gboolean
plugin_init (GstPlugin * plugin)
{
  return GST_ELEMENT_REGISTER (cuframessink, plugin) && GST_ELEMENT_REGISTER (cuframessrc, plugin)
      && GST_ELEMENT_REGISTER (cuframespay, plugin) && GST_ELEMENT_REGISTER (cuframesdepay, plugin)
      && GST_DEVICE_PROVIDER_REGISTER (cuframesdeviceprovider, plugin);
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, cuframes, "Shares video frames between processes, without a copy", plugin_init,
    PACKAGE_VERSION, "LGPL", "gst-cuframes", "Unknown package origin")
