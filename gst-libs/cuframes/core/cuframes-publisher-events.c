/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events: sent in their place among what is published, and kept for those who join later. */
#include <string.h>

#include "cuframes-publisher-private.h"
#include "cuframes-util.h"

/* What is kept for those who join: less than what may wait for one of them, so that there is room for what comes after it. */
#define STICKIES_MAX (CUFRAMES_PEER_QUEUE_COUNT_MAX * 3 / 4)
#define STICKY_BYTES_MAX (CUFRAMES_PEER_QUEUE_BYTES_MAX / 4 * 3)

void
cuframes_publisher_drop_events (CuframesPublisher *publisher)
{
  while (publisher->stickies != NULL) {
    CuframesSticky *first = publisher->stickies;
    publisher->stickies = first->next;
    free (first);
  }
}

/* Otherwise nobody could join any more. */
static bool
has_room_for_sticky (const CuframesPublisher *publisher, uint64_t key, uint32_t byte_count)
{
  uint32_t count = 1;
  uint64_t bytes = byte_count;

  for (const CuframesSticky *sticky = publisher->stickies; sticky != NULL; sticky = sticky->next)
    if (sticky->key != key) {
      count++;
      bytes += sticky->byte_count;
    }
  return count <= STICKIES_MAX && bytes <= STICKY_BYTES_MAX;
}

static int
keep_sticky (CuframesPublisher *publisher, CuframesEventKind kind, uint64_t key, const void *bytes, uint32_t byte_count)
{
  CuframesSticky **place = &publisher->stickies, *sticky;

  if (!has_room_for_sticky (publisher, key, byte_count))
    return -ENOSPC;
  sticky = malloc (sizeof *sticky + byte_count);
  if (sticky == NULL)
    return -ENOMEM;
  *sticky = (CuframesSticky) { .key = key,.after_sequence = publisher->head,.kind = kind,.byte_count = byte_count };
  if (byte_count > 0)
    memcpy (sticky->bytes, bytes, byte_count);
  while (*place != NULL && (*place)->key != key)
    place = &(*place)->next;
  if (*place != NULL) {
    CuframesSticky *replaced = *place;
    sticky->next = replaced->next;
    free (replaced);
  }
  *place = sticky;
  return 0;
}

/**
 * cuframes_publisher_send_event:
 * @publisher: a publisher
 * @kind: what it is
 * @sticky_key: 0, or a number under which it is kept for those who join later, in place of the last of that number
 * @bytes: (nullable): what it carries; copied
 * @byte_count: length of @bytes, at most %CUFRAMES_EVENT_BYTES_MAX
 *
 * Sends an event to every subscriber, in its place behind the frames or packets published so far. Those who join later are told of what is
 * kept before all else, but of the end of the stream in its place. One that leaves too much unread is taken off the channel. Any thread.
 *
 * Returns: 0, -EMSGSIZE if it is too long, -ENOSPC if more is kept already than anybody could be sent, or -ENOMEM; then nobody is sent anything
 *
 * Since: 0.1
 */
int
cuframes_publisher_send_event (CuframesPublisher *publisher, CuframesEventKind kind, uint64_t sticky_key, const void *bytes,
    size_t byte_count)
{
  CuframesEventMessage event = {.kind = kind,.byte_count = (uint32_t) byte_count,.bytes = bytes };
  int r = 0;

  if (byte_count > CUFRAMES_EVENT_BYTES_MAX)
    return -EMSGSIZE;
  pthread_mutex_lock (&publisher->lock);
  if (sticky_key != 0)
    r = keep_sticky (publisher, kind, sticky_key, bytes, (uint32_t) byte_count);
  if (r == 0) {
    /* 0 says "kept for those who join". */
    publisher->event_serial += publisher->event_serial == UINT64_MAX ? 2 : 1;
    event.serial = publisher->event_serial;
    event.after_sequence = publisher->head;
    for (uint32_t i = 0; i < publisher->peer_count; i++) {
      if (cuframes_peer_queue_event (publisher->peers[i], &event) != 0)
        cuframes_publisher_take_off (publisher, publisher->peers[i]);
      cuframes_publisher_flush_peer (publisher, publisher->peers[i]);
    }
    if (publisher->ring != NULL)
      /* SYNC event: seq_cst; pairs with has_news(); without it a subscriber that is awake may sleep over the event. */
      atomic_store_explicit (&publisher->ring->control->event_serial, event.serial, memory_order_seq_cst);
    cuframes_publisher_wake (publisher);
  }
  pthread_mutex_unlock (&publisher->lock);
  return r;
}

/**
 * cuframes_publisher_forget_events:
 * @publisher: a publisher
 *
 * Forgets the events that are kept for those who join later: a new stream begins. Any thread.
 *
 * Since: 0.1
 */
void
cuframes_publisher_forget_events (CuframesPublisher *publisher)
{
  pthread_mutex_lock (&publisher->lock);
  cuframes_publisher_drop_events (publisher);
  pthread_mutex_unlock (&publisher->lock);
}
