/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Both ends of a channel for the tests: frames that carry their number in every word, and who looks at them. */
#include "core-fixture.h"

#include <stdlib.h>

/* How long is looked for what was not expected. */
#define SURPLUS_NS 20000000u

const char *
fixture_socket (const char *channel)
{
  char path[CUFRAMES_SOCKET_PATH_BYTES];

  if (channel[0] == '@' || channel[0] == '/')
    return channel;
  if (cuframes_channel_path (channel, path, sizeof path) != 0)
    abort ();
  return fixture_path (strrchr (path, '/') + 1);
}

int
source_open (Source *source, const char *channel, const CuframesPublisherConfig *config)
{
  CuframesPublisherConfig own = { 0 };

  if (config != NULL)
    own = *config;
  own.socket_path = fixture_socket (channel);
  *source = (Source) {.number = own.first_sequence,.slot_bytes = FIXTURE_SLOT_BYTES };
  return cuframes_publisher_new (&own, &source->publisher);
}

int
source_start_ring (Source *source, uint32_t slot_count, uint32_t reserve_count, const char *format)
{
  CuframesRingConfig config = {.slot_bytes = source->slot_bytes,.slot_count = slot_count,.reserve_count = reserve_count,
    .fence_offset_bytes = CUFRAMES_NONE,.format = format,.format_bytes = (uint32_t) strlen (format),.meta_bytes = 4096 };
  CuframesRing *ring = NULL;
  int r = cuframes_arena_new_host (slot_count * source->slot_bytes, &config.arena);

  if (r != 0)
    return r;
  r = cuframes_publisher_start_ring (source->publisher, &config, &ring);
  cuframes_arena_unref (config.arena);
  if (r != 0)
    return r;
  cuframes_ring_unref (source->ring);
  source->ring = ring;
  return 0;
}

int
source_publish (Source *source)
{
  CuframesFrameInfo info = {.size_bytes = source->slot_bytes,.pts_ns = source->number + 1,.moment_ns = CUFRAMES_NONE };
  uint64_t sequence = 0;
  uint32_t slot;
  int r = cuframes_ring_claim (source->ring, FIXTURE_BOUND_NS, &slot);

  if (r != 0)
    return r;
  fill_words ((uint64_t *) (uintptr_t) cuframes_ring_get_slot_address (source->ring, slot), source->slot_bytes, source->number + 1);
  r = cuframes_publisher_publish (source->publisher, source->ring, slot, &info, &sequence);
  cuframes_ring_release (source->ring, slot);
  if (r == 0 && sequence != ++source->number)
    abort ();
  return r;
}

/* How many were published. */
int
source_publish_many (Source *source, uint64_t count)
{
  int published = 0;

  for (uint64_t i = 0; i < count; i++)
    published += source_publish (source) == 0;
  return published;
}

void
source_close (Source *source)
{
  source->publisher = cuframes_publisher_free (source->publisher);
  source->ring = cuframes_ring_unref (source->ring);
}

/* Connected, or NULL. */
CuframesSubscriber *
sink_open (const char *channel, const CuframesSubscriberConfig *config)
{
  CuframesSubscriberConfig own = { 0 };
  CuframesSubscriber *subscriber = NULL;

  if (config != NULL)
    own = *config;
  own.socket_path = fixture_socket (channel);
  if (cuframes_subscriber_new (&own, &subscriber) == 0 && cuframes_subscriber_connect (subscriber, FIXTURE_BOUND_NS) != 0)
    subscriber = cuframes_subscriber_free (subscriber);
  return subscriber;
}

int
sink_next (CuframesSubscriber *subscriber, CuframesItem *item)
{
  return cuframes_subscriber_next (subscriber, FIXTURE_BOUND_NS, item);
}

bool
sink_expect (CuframesSubscriber *subscriber, CuframesItemKind kind, CuframesItem *item)
{
  const int r = sink_next (subscriber, item);

  if (r == 0 && item->kind == kind)
    return true;
  fprintf (stderr, "  an item of kind %d was due; the result is %d, the kind %d\n", (int) kind, r, (int) item->kind);
  if (r == 0)
    cuframes_frame_unref (item->frame);
  return false;
}

bool
frame_is_whole (CuframesFrame *frame)
{
  const CuframesFrameInfo *info = cuframes_frame_get_info (frame);

  return info->pts_ns == info->sequence
      && words_are_of ((const uint64_t *) (uintptr_t) cuframes_frame_get_address (frame), info->size_bytes, info->sequence);
}

void
sink_describe (CuframesSubscriber *subscriber, const char *expected, char *story, size_t story_bytes)
{
  CuframesItem item;

  story[0] = 0;
  while (cuframes_subscriber_next (subscriber, strlen (story) < strlen (expected) ? FIXTURE_BOUND_NS : SURPLUS_NS, &item) == 0
      && strlen (story) + 32 < story_bytes) {
    char *end = story + strlen (story);
    if (item.kind == CUFRAMES_ITEM_EVENT && item.event_kind == CUFRAMES_EVENT_EOS)
      strcpy (end, "E ");
    else if (item.kind == CUFRAMES_ITEM_EVENT)
      snprintf (end, 32, "%.*s ", (int) item.byte_count, (const char *) item.bytes);
    else if (item.kind == CUFRAMES_ITEM_PACKET)
      strcpy (end, sink_take (subscriber, &item) == 0 ? "P " : "! ");
    else if (item.kind == CUFRAMES_ITEM_FRAME)
      strcpy (end, frame_is_whole (item.frame) ? "F " : "! ");
    else
      strcpy (end, item.kind == CUFRAMES_ITEM_CONNECTED ? "C " : item.kind == CUFRAMES_ITEM_FORMAT ? "R " : "D ");
    cuframes_frame_unref (item.frame);
  }
}
