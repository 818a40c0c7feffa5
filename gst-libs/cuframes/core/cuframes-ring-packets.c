/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A generation of packets in its publisher: the memory of a packet ring and the writer's view of it. Nothing is claimed or leased here,
 * so nothing is ever waited for. Knows no socket. */
#include "cuframes-arena-host.h"
#include "cuframes-ring.h"

#include "cuframes-util.h"

#define DEFAULT_INDEX_SIZE 8192u
#define DEFAULT_DATA_BYTES (UINT64_C (32) << 20)

static uint64_t
round_up (uint64_t wanted, uint64_t least)
{
  uint64_t power = least;

  while (power < wanted)
    power *= 2;
  return power;
}

static int
describe (const CuframesPacketRingConfig *config, CuframesRingMessage *ret_message)
{
  const uint32_t index_size = config->index_size == 0 ? DEFAULT_INDEX_SIZE : config->index_size;
  const uint64_t data_bytes = config->data_bytes == 0 ? DEFAULT_DATA_BYTES : config->data_bytes;

  if (index_size > CUFRAMES_PACKET_INDEX_MAX || data_bytes > CUFRAMES_PACKET_DATA_BYTES_MAX)
    return -EINVAL;
  if (config->format_bytes > CUFRAMES_FORMAT_BYTES_MAX)
    return -EMSGSIZE;
  *ret_message = (CuframesRingMessage) {
    .kind = CUFRAMES_RING_PACKETS,.slot_count = (uint32_t) round_up (index_size, CUFRAMES_PACKET_INDEX_MIN),
    .slot_bytes = round_up (data_bytes, CUFRAMES_PACKET_DATA_BYTES_MIN),.fence_offset_bytes = CUFRAMES_NONE,
    .format = config->format,.format_bytes = config->format_bytes,
  };
  ret_message->control_bytes = cuframes_packet_control_bytes (ret_message->slot_count);
  return 0;
}

/**
 * cuframes_ring_new_packets:
 * @config: the new generation
 * @ret_ring: (out) (transfer full): the ring
 *
 * Makes a ring for packets of any size, for cuframes_publisher_announce_ring(). All its memory is taken now, and zeroed as packets fill it: the
 * first one need not wait for that. It has no slots: packets are
 * copied into it by cuframes_publisher_publish_packet().
 *
 * Returns: 0, -EINVAL if a size is out of range, -EMSGSIZE if the format is too long, -ENOMEM, -EFBIG, -EMFILE or another negative errno;
 * then @ret_ring is unchanged
 *
 * Since: 0.1
 */
int
cuframes_ring_new_packets (const CuframesPacketRingConfig *config, CuframesRing **ret_ring)
{
  CuframesArena *arena = NULL;
  CuframesRing *ring = NULL;
  CuframesRingMessage message;
  int r = describe (config, &message);

  if (r == 0)
    r = cuframes_arena_host_new (message.slot_bytes, CUFRAMES_MEMFD_RESERVED, &arena);
  if (r == 0)
    r = cuframes_ring_prepare (&message, arena, CUFRAMES_MEMFD_RESERVED, &ring);
  cuframes_arena_unref (arena);
  if (r == 0)
    r = cuframes_packet_ring_init (&ring->packets, (CuframesPacketControlPage *) ring->control, message.slot_count,
        (void *) (uintptr_t) cuframes_arena_get_address (ring->arena), message.slot_bytes, 0, 0);
  if (r == 0)
    *ret_ring = cuframes_steal (&ring);
  cuframes_ring_unref (ring);
  return r;
}

/**
 * cuframes_ring_get_kind:
 * @ring: a ring
 *
 * Returns: what it holds. Any thread.
 *
 * Since: 0.1
 */
CuframesRingKind
cuframes_ring_get_kind (const CuframesRing *ring)
{
  return (CuframesRingKind) ring->message.kind;
}

/**
 * cuframes_ring_get_packet_limit:
 * @ring: a ring
 *
 * Returns: bytes of the largest packet that is taken, a quarter of the data area: data and metas together, each in whole words of 8 bytes;
 * 0 for a ring of frames. Any thread.
 *
 * Since: 0.1
 */
uint64_t
cuframes_ring_get_packet_limit (const CuframesRing *ring)
{
  return ring->message.kind == CUFRAMES_RING_PACKETS ? cuframes_packet_ring_get_limit (&ring->packets) : 0;
}

/* Under the publisher's lock, which is what serialises writers. 0, CUFRAMES_E_FULL if it is too large, or -EINVAL. */
int
cuframes_ring_write (CuframesRing *ring, const CuframesPacketInfo *info, const struct iovec *pieces, uint32_t piece_count, const void *metas,
    uint64_t *ret_sequence)
{
  if (ring->message.kind != CUFRAMES_RING_PACKETS)
    return -EINVAL;
  return cuframes_packet_ring_write (&ring->packets, info, pieces, piece_count, metas, ret_sequence);
}
