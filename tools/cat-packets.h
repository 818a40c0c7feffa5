/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CAT_PACKETS_H
#define CAT_PACKETS_H

#include "cat-source.h"

gboolean cat_packets_append (GstBin * bin, GstPad ** pad, GstCaps * caps, CatFormat format, GError ** error);

#endif
