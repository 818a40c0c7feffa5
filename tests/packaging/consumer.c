/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Somebody else's program, as C and as C++: publishes one frame and reads it back through the installed library. */
#include <cuframes.h>
#include <cuframes-arena-cuda.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C (1000000000)

static const char mark[] = "a frame";

static int
publish (CuframesPublisher *publisher)
{
  CuframesRingConfig config;
  CuframesFrameInfo info;
  CuframesRing *ring = NULL;
  uint32_t slot;
  int r;

  memset (&config, 0, sizeof config);
  config.slot_bytes = 4096;
  config.slot_count = 4;
  config.reserve_count = 1;
  config.format = "text/plain";
  config.format_bytes = 10;
  r = cuframes_arena_new_host (config.slot_bytes * config.slot_count, &config.arena);
  if (r == 0)
    r = cuframes_publisher_start_ring (publisher, &config, &ring);
  if (r == 0)
    r = cuframes_ring_claim (ring, SECOND, &slot);
  if (r == 0) {
    memcpy ((void *) (uintptr_t) cuframes_ring_get_slot_address (ring, slot), mark, sizeof mark);
    memset (&info, 0, sizeof info);
    info.size_bytes = sizeof mark;
    r = cuframes_publisher_publish (publisher, ring, slot, &info, NULL);
    cuframes_ring_release (ring, slot);
  }
  cuframes_ring_unref (ring);
  cuframes_arena_unref (config.arena);
  return r;
}

static int
receive (CuframesSubscriber *subscriber)
{
  CuframesItem item;
  int r = cuframes_subscriber_connect (subscriber, 5 * SECOND);

  while (r == 0) {
    r = cuframes_subscriber_next (subscriber, 5 * SECOND, &item);
    if (r == 0 && item.kind == CUFRAMES_ITEM_FRAME) {
      r = memcmp ((const void *) (uintptr_t) cuframes_frame_get_address (item.frame), mark, sizeof mark) == 0 ? 0 : -EBADMSG;
      cuframes_frame_unref (item.frame);
      break;
    }
  }
  return r;
}

int
main (int argc, char **argv)
{
  CuframesPublisherConfig publisher_config;
  CuframesSubscriberConfig subscriber_config;
  CuframesPublisher *publisher = NULL;
  CuframesSubscriber *subscriber = NULL;
  char path[CUFRAMES_SOCKET_PATH_BYTES];
  int r = argc == 2 ? cuframes_channel_path (argv[1], path, sizeof path) : -EINVAL;

  memset (&publisher_config, 0, sizeof publisher_config);
  memset (&subscriber_config, 0, sizeof subscriber_config);
  publisher_config.socket_path = subscriber_config.socket_path = path;
  publisher_config.socket_mode = 0600;
  if (r == 0)
    r = cuframes_publisher_new (&publisher_config, &publisher);
  if (r == 0)
    r = publish (publisher);
  if (r == 0)
    r = cuframes_subscriber_new (&subscriber_config, &subscriber);
  if (r == 0)
    r = receive (subscriber);
  cuframes_subscriber_free (subscriber);
  cuframes_publisher_free (publisher);
  if (r == 0)
    printf ("received %s\n", mark);
  else
    fprintf (stderr, "failed: %s\n", r < 0 ? strerror (-r) : "a condition of the library");
  return r == 0 ? 0 : 1;
}
