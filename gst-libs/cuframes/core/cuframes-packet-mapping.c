/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A generation of packets as a subscriber maps it. What the publisher says is checked once against what was mapped and then used from the
 * private copy. Packets are copied out, so nobody but the subscriber ever refers to it. Knows nothing of waiting or of events. */
#include "cuframes-packet-mapping.h"

#include "cuframes-memfd.h"
#include "cuframes-util.h"

static bool
is_power_between (uint64_t value, uint64_t least, uint64_t most)
{
  return value >= least && value <= most && (value & (value - 1)) == 0;
}

static bool
message_is_sound (const CuframesRingMessage *message)
{
  return message->kind == CUFRAMES_RING_PACKETS && message->generation != 0
      && is_power_between (message->slot_count, CUFRAMES_PACKET_INDEX_MIN, CUFRAMES_PACKET_INDEX_MAX)
      && is_power_between (message->slot_bytes, CUFRAMES_PACKET_DATA_BYTES_MIN, CUFRAMES_PACKET_DATA_BYTES_MAX)
      && message->control_bytes == cuframes_packet_control_bytes (message->slot_count)
      && message->data_offset_bytes == 0 && message->meta_stride_bytes == 0 && message->fence_offset_bytes == CUFRAMES_NONE
      && message->arena.kind == CUFRAMES_MEMORY_HOST && message->arena.size_bytes >= message->slot_bytes;
}

/* Large rings are mapped as they are read: who joins would wait for memory that the publisher has not even zeroed yet. */
static int
map_pages (CuframesPacketMapping *mapping, const int fds[3])
{
  void *control = NULL, *data = NULL, *page = NULL;
  int r = cuframes_memfd_map (fds[0], mapping->message.control_bytes, CUFRAMES_MEMFD_OWNER_WRITES, false, &control);

  mapping->control = control;
  if (r == 0)
    r = cuframes_memfd_map (fds[1], mapping->message.slot_bytes, CUFRAMES_MEMFD_OWNER_WRITES, false, &data);
  mapping->data = data;
  if (r == 0)
    r = cuframes_memfd_map (fds[2], CUFRAMES_PAGE_BYTES, CUFRAMES_MEMFD_PEER_WRITES, true, &page);
  mapping->page = page;
  if (r == 0 && mapping->control->generation != mapping->message.generation)
    r = CUFRAMES_E_PEER;
  return r;
}

/* The descriptors are borrowed. 0, CUFRAMES_E_PEER if they are not what the message says, or a negative errno. */
int
cuframes_packet_mapping_new (const CuframesRingMessage *message, const int fds[3], CuframesPacketMapping **ret_mapping)
{
  CuframesPacketMapping *mapping;
  int r;

  if (!message_is_sound (message))
    return CUFRAMES_E_PEER;
  mapping = calloc (1, sizeof *mapping);
  if (mapping == NULL)
    return -ENOMEM;
  mapping->message = *message;
  mapping->message.format = NULL;
  r = map_pages (mapping, fds);
  if (r != 0) {
    cuframes_packet_mapping_free (mapping);
    return r;
  }
  *ret_mapping = mapping;
  return 0;
}

/* Takes NULL. Always NULL. */
CuframesPacketMapping *
cuframes_packet_mapping_free (CuframesPacketMapping *mapping)
{
  if (mapping == NULL)
    return NULL;
  cuframes_memfd_unmap ((void *) mapping->control, mapping->message.control_bytes);
  cuframes_memfd_unmap ((void *) mapping->data, mapping->message.slot_bytes);
  cuframes_memfd_unmap (mapping->page, CUFRAMES_PAGE_BYTES);
  free (mapping);
  return NULL;
}
