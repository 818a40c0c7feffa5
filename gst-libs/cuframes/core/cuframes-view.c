/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The generation that a subscriber reads now. The one room in which frames and packets meet: what waits, counts and puts events in their
 * place is the same for both. Knows nothing of sockets or of sleeping. */
#include "cuframes-view.h"

#include "cuframes-util.h"

/* A page that changes while it is looked at may show overruns for ever; after this many the caller is asked for patience. */
#define OVERRUNS_AT_ONCE 4u

static uint64_t
get_cursor (const CuframesView *view)
{
  return view->packets != NULL ? view->packet_reader.cursor : view->reader.cursor;
}

static uint64_t
get_missed (const CuframesView *view)
{
  return view->packets != NULL ? view->packet_reader.missed : view->reader.missed;
}

/* Where to start among frames: at the first ring after the connection by the user's wish, later where the ring before ended. */
static uint64_t
find_cursor (const CuframesView *view, const CuframesMapping *mapping, uint64_t joined, CuframesStart start)
{
  const uint64_t first = mapping->message.first_sequence;
  CuframesFrameReader reader;

  if (view->control != NULL)
    return first;
  if (start == CUFRAMES_START_OLDEST) {
    cuframes_frame_reader_init (&reader, mapping->control, mapping->page, mapping->message.slot_count, first);
    return cuframes_frame_reader_get_oldest (&reader);
  }
  if ((int64_t) (joined - first) <= 0)
    return first;
  return start == CUFRAMES_START_NEXT ? joined : joined - 1;
}

/* Whether what lies between the place in the ring before and the next one counts as missed. Who was still looking for its first key point
 * has not begun. */
static bool
counts (const CuframesView *view)
{
  return view->control != NULL && (view->packets == NULL || view->packet_reader.counting);
}

static int
open_frames (CuframesView *view, CuframesConnection *connection, const CuframesRingMessage *message, const int fds[3],
    const CuframesSubscriberConfig *config, CuframesView *ret_view)
{
  CuframesMapping *mapping = NULL;
  uint64_t cursor;
  int r = cuframes_mapping_new (connection, message, fds, config->import, config->import_user_data, &mapping);

  if (r != 0)
    return r;
  cursor = find_cursor (view, mapping, connection->welcome.head, config->start);
  *ret_view = (CuframesView) {.frames = mapping,.control = mapping->control,.page = mapping->page };
  cuframes_frame_reader_init (&ret_view->reader, mapping->control, mapping->page, mapping->message.slot_count, cursor);
  if (counts (view) && (int64_t) (cursor - get_cursor (view)) > 0)
    ret_view->reader.missed = cursor - get_cursor (view);
  return 0;
}

/* Later rings are read from their first key point on, whatever the start: what came before was read from the ring before. Who was there before
 * the ring began misses nothing of it either. */
static int
start_packets (const CuframesView *view, CuframesPacketReader *reader, const CuframesPacketMapping *mapping, uint64_t joined, CuframesStart start)
{
  const uint64_t first = mapping->message.first_sequence;
  const bool whole = view->control != NULL || start == CUFRAMES_START_OLDEST || (int64_t) (joined - first) <= 0;
  const CuframesPacketFrom from = whole ? CUFRAMES_PACKET_FROM_OLDEST
      : start == CUFRAMES_START_NEXT ? CUFRAMES_PACKET_FROM_NEXT : CUFRAMES_PACKET_FROM_NEWEST;
  int r = cuframes_packet_reader_init (reader, mapping->control, mapping->message.slot_count, mapping->data, mapping->message.slot_bytes, from,
      CUFRAMES_PACKET_FROM_NEWEST);

  if (r != 0)
    return r < 0 ? CUFRAMES_E_PEER : r;
  /* Packets that came between the welcome and this moment are packets of from now on. */
  if (from == CUFRAMES_PACKET_FROM_NEXT)
    reader->seen = joined;
  if (counts (view))
    cuframes_packet_reader_count_from (reader, get_cursor (view));
  return 0;
}

static int
open_packets (CuframesView *view, CuframesConnection *connection, const CuframesRingMessage *message, const int fds[3],
    const CuframesSubscriberConfig *config, CuframesView *ret_view)
{
  CuframesPacketMapping *mapping = NULL;
  CuframesPacketReader reader;
  int r = cuframes_packet_mapping_new (message, fds, &mapping);

  if (r == 0)
    r = start_packets (view, &reader, mapping, connection->welcome.head, config->start);
  if (r != 0) {
    cuframes_packet_mapping_free (mapping);
    return r;
  }
  *ret_view = (CuframesView) {
    .packets = mapping,.control = (const CuframesControlPage *) mapping->control,.page = mapping->page,.packet_reader = reader,
  };
  return 0;
}

static void
tell_progress (const CuframesView *view)
{
  /* relaxed: hints for the publisher, which it may see late */
  atomic_store_explicit (&view->page->cursor, cuframes_view_get_position (view), memory_order_relaxed);
  /* relaxed: likewise */
  atomic_store_explicit (&view->page->missed, get_missed (view), memory_order_relaxed);
}

/* Goes on from the generation before, if there is one, to this one. The descriptors are borrowed. 0, CUFRAMES_E_PEER if they are not what the
 * message says, -ENODEV if this process cannot map that memory, or another negative errno; then the view is as it was. */
int
cuframes_view_open (CuframesView *view, CuframesConnection *connection, const CuframesRingMessage *message, const int fds[3],
    const CuframesSubscriberConfig *config)
{
  CuframesView next;
  int r = (message->kind == CUFRAMES_RING_PACKETS ? open_packets : open_frames) (view, connection, message, fds, config, &next);

  if (r != 0)
    return r;
  /* What no item has told yet is told by the first one of this generation; its own page does not count it again. */
  next.missed_told = view->missed_told - get_missed (view);
  next.generation = message->generation;
  cuframes_view_close (view);
  *view = next;
  tell_progress (view);
  /* relaxed: a hint for the publisher, which it may see late */
  atomic_store_explicit (&view->page->lossless, config->lossless, memory_order_relaxed);
  return 0;
}

/* What frames are out keeps their mapping. */
void
cuframes_view_close (CuframesView *view)
{
  cuframes_frame_unref (view->stash);
  cuframes_mapping_unref (view->frames);
  cuframes_packet_mapping_free (view->packets);
  *view = (CuframesView) { 0 };
}

static int
fetch_frame (CuframesView *view, CuframesDelivery delivery, uint32_t max_leases)
{
  CuframesMapping *mapping = view->frames;

  if (view->stash != NULL)
    return 0;
  /* SYNC budget: acquire; pairs with cuframes_frame_unref(). */
  if (__atomic_load_n (&mapping->leased, __ATOMIC_ACQUIRE) >= max_leases)
    /* SYNC publish: acquire; pairs with cuframes_frame_ring_publish(); it is enough to know that something is there. */
    return atomic_load_explicit (&mapping->control->head, memory_order_acquire) == view->reader.cursor ? CUFRAMES_E_EMPTY : CUFRAMES_E_HELD;
  return cuframes_mapping_lease (mapping, &view->reader, delivery == CUFRAMES_DELIVERY_LATEST ? CUFRAMES_READ_LATEST : CUFRAMES_READ_NEXT,
      &view->stash);
}

/* 0, CUFRAMES_E_EMPTY, CUFRAMES_E_PEER, or CUFRAMES_E_OVERRUN if it is worth another try. */
static int
peek_packet (CuframesView *view)
{
  int r = CUFRAMES_E_OVERRUN;

  for (uint32_t i = 0; r == CUFRAMES_E_OVERRUN && i < OVERRUNS_AT_ONCE; i++)
    r = cuframes_packet_reader_peek (&view->packet_reader, &view->packet);
  return r;
}

static int
fetch_packet (CuframesView *view)
{
  int r;

  if (view->offered)
    cuframes_packet_reader_skip (&view->packet_reader);
  view->offered = false;
  r = peek_packet (view);
  view->fetched = r == 0;
  if (r == CUFRAMES_E_EMPTY)
    tell_progress (view);
  return r == CUFRAMES_E_OVERRUN ? CUFRAMES_E_EMPTY : r;
}

/* Looks for what comes next; a packet that was handed out and not taken is passed over. 0, CUFRAMES_E_EMPTY, CUFRAMES_E_HELD if a frame is there
 * and as many as allowed are out, CUFRAMES_E_PEER, or a negative errno. */
int
cuframes_view_fetch (CuframesView *view, CuframesDelivery delivery, uint32_t max_leases)
{
  if (view->control == NULL)
    return CUFRAMES_E_EMPTY;
  return view->packets != NULL ? fetch_packet (view) : fetch_frame (view, delivery, max_leases);
}

/* What was fetched becomes the item. There is something. */
void
cuframes_view_deliver (CuframesView *view, CuframesItem *item)
{
  item->missed = get_missed (view) - view->missed_told;
  view->missed_told = get_missed (view);
  if (view->packets != NULL) {
    item->kind = CUFRAMES_ITEM_PACKET;
    item->packet_info = &view->packet;
    view->offered = true;
    view->fetched = false;
    return;
  }
  item->kind = CUFRAMES_ITEM_FRAME;
  item->frame = cuframes_steal (&view->stash);
  item->info = cuframes_frame_get_info (item->frame);
  /* relaxed: a counter */
  atomic_fetch_add_explicit (&view->page->delivered, 1, memory_order_relaxed);
}

/* Copies the packet that was handed out. 0; CUFRAMES_E_OVERRUN if it was overwritten meanwhile; -EINVAL if there is none. */
int
cuframes_view_take (CuframesView *view, void *data, void *metas)
{
  int r;

  if (!view->offered)
    return -EINVAL;
  view->offered = false;
  r = cuframes_packet_reader_take (&view->packet_reader, data, metas);
  if (r != 0)
    return r;
  tell_progress (view);
  /* relaxed: a counter */
  atomic_fetch_add_explicit (&view->page->delivered, 1, memory_order_relaxed);
  return 0;
}

bool
cuframes_view_get_fetched (const CuframesView *view, uint64_t *ret_sequence, uint64_t *ret_event_serial)
{
  if (view->stash != NULL) {
    const CuframesFrameInfo *info = cuframes_frame_get_info (view->stash);
    *ret_sequence = info->sequence;
    *ret_event_serial = info->event_serial;
    return true;
  }
  *ret_sequence = view->packet.sequence;
  *ret_event_serial = view->packet.event_serial;
  return view->fetched;
}

/* Number of the last frame or packet that was handed out or passed over. While a key point is looked for that is all that was looked at. */
uint64_t
cuframes_view_get_position (const CuframesView *view)
{
  if (view->packets != NULL && view->packet_reader.syncing && (int64_t) (view->packet_reader.seen - view->packet_reader.cursor) > 0)
    return view->packet_reader.seen;
  return get_cursor (view);
}

/* Whether the ring has something that was not looked at. */
bool
cuframes_view_has_more (const CuframesView *view)
{
  /* SYNC sleep: seq_cst; pairs with the head in cuframes_frame_ring_publish() and cuframes_packet_ring_write(), SYNC wake: either we see what
   * was published or the publisher sees that we wait. */
  return atomic_load_explicit (&view->control->head, memory_order_seq_cst)
      != (view->packets != NULL ? view->packet_reader.seen : view->reader.cursor);
}

/* Whether packets are read and none of those there is a key point to start from. */
bool
cuframes_view_is_syncing (CuframesView *view)
{
  if (view->packets == NULL || view->offered || !view->packet_reader.syncing)
    return false;
  return peek_packet (view) != 0 && view->packet_reader.syncing;
}
