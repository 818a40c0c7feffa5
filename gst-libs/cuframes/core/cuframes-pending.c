/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a subscriber has heard and not yet handed out. Bounded, because it is the publisher who fills it. Knows no place and no order but
 * that of coming in. */
#include "cuframes-pending.h"

#include <string.h>

#include "cuframes-memfd.h"
#include "cuframes-util.h"

/* A reader of packets may be thousands of them behind, and an event may come with each. */
#define COUNT_MAX 16384u
#define BYTES_MAX (UINT64_C (256) << 20)
/* A publisher sends the next only when the last was acknowledged, and the newest besides when it ends. Each has three descriptors. */
#define RINGS_MAX 2u

void
cuframes_pending_queue_init (CuframesPendingQueue *queue)
{
  *queue = (CuframesPendingQueue) {.end = &queue->first };
}

void
cuframes_pending_queue_clear (CuframesPendingQueue *queue)
{
  while (queue->first != NULL)
    cuframes_pending_free (cuframes_pending_queue_take (queue));
}

/* Copies the message in the inbox behind those that wait, with the descriptors. 0, CUFRAMES_E_PEER for too many, or -ENOMEM. */
static int
append (CuframesPendingQueue *queue, CuframesInbox *inbox, const void *bytes, uint32_t byte_count)
{
  CuframesPending *pending;
  const bool is_ring = inbox->message.type == CUFRAMES_MESSAGE_RING;

  if (queue->count >= COUNT_MAX || (is_ring && queue->ring_count >= RINGS_MAX) || byte_count > BYTES_MAX - queue->total_bytes)
    return CUFRAMES_E_PEER;
  pending = malloc (sizeof *pending + byte_count);
  if (pending == NULL)
    return -ENOMEM;
  pending->next = NULL;
  pending->message = inbox->message;
  pending->byte_count = byte_count;
  if (byte_count > 0)
    memcpy (pending->bytes, bytes, byte_count);
  for (uint32_t i = 0; i < CUFRAMES_WIRE_FDS_MAX; i++)
    pending->fds[i] = cuframes_steal_fd (&inbox->fds[i]);
  *queue->end = pending;
  queue->end = &pending->next;
  queue->count++;
  queue->ring_count += is_ring;
  queue->total_bytes += byte_count;
  return 0;
}

/* Puts the message in the inbox, a RING or an EVENT, behind those that wait; what the inbox had of descriptors is taken. 0, CUFRAMES_E_PEER
 * for too much or for a descriptor that is not what the message says, -ENOMEM or another negative errno. */
int
cuframes_pending_queue_add (CuframesPendingQueue *queue, CuframesInbox *inbox)
{
  const CuframesEventMessage *event = &inbox->message.event;
  void *data = NULL;
  int r;

  if (inbox->message.type == CUFRAMES_MESSAGE_RING)
    return append (queue, inbox, inbox->message.ring.format, inbox->message.ring.format_bytes);
  if (inbox->fd_count == 0)
    return append (queue, inbox, event->bytes, event->byte_count);
  r = cuframes_memfd_map (inbox->fds[0], event->byte_count, CUFRAMES_MEMFD_OWNER_WRITES, true, &data);
  if (r != 0)
    return r;
  cuframes_inbox_close_fds (inbox);
  r = append (queue, inbox, data, event->byte_count);
  cuframes_memfd_unmap (data, event->byte_count);
  return r;
}

/* The first one, the caller's to free. There is one. */
CuframesPending *
cuframes_pending_queue_take (CuframesPendingQueue *queue)
{
  CuframesPending *first = queue->first;

  queue->first = first->next;
  if (queue->first == NULL)
    queue->end = &queue->first;
  queue->count--;
  queue->ring_count -= first->message.type == CUFRAMES_MESSAGE_RING;
  queue->total_bytes -= first->byte_count;
  return first;
}

/* Takes NULL. Always NULL. */
CuframesPending *
cuframes_pending_free (CuframesPending *pending)
{
  if (pending == NULL)
    return NULL;
  for (uint32_t i = 0; i < CUFRAMES_WIRE_FDS_MAX; i++)
    cuframes_close (pending->fds[i]);
  free (pending);
  return NULL;
}
