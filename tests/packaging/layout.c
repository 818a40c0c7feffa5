/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What programs that were built against an earlier release rely on: the size of each public structure, and where its last member is.
 * Before the first release a number is corrected with the change; after it, another number is another soversion. */
#include <cuframes.h>
#include <cuframes-arena-cuda.h>

#define LAYOUT(type, bytes, last, offset) \
  _Static_assert (sizeof (void *) != 8 || (sizeof (type) == (bytes) && offsetof (type, last) == (offset)), "another layout: " #type)

LAYOUT (CuframesArenaInfo, 32, device_uuid, 16);
LAYOUT (CuframesArenaOps, 32, adopt_mirror, 24);
LAYOUT (CuframesPublisherCallbacks, 32, log, 24);
LAYOUT (CuframesPublisherConfig, 88, user_data, 80);
LAYOUT (CuframesRingConfig, 64, format_bytes, 56);
LAYOUT (CuframesItem, 88, bye, 80);
LAYOUT (CuframesSubscriberConfig, 80, device_count, 72);
LAYOUT (CuframesSubscriberCounters, 72, cursor, 64);
LAYOUT (CuframesFrameInfo, 192, reserved, 164);
LAYOUT (CuframesSubscriberStats, 104, name, 72);
LAYOUT (CuframesPublisherStats, 112, last_publish_ns, 104);
