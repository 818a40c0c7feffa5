/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A generation as a subscriber maps it, and the frames leased from it. Everything the publisher says is checked once against what was
 * mapped and then used from the private copy. Knows nothing of waiting or of events. */
#define _GNU_SOURCE
#include "cuframes-mapping.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "cuframes-fork-guard.h"
#include "cuframes-memfd.h"
#include "cuframes-util.h"

struct _CuframesFrame
{
  unsigned references;          /* atomic */
  CuframesMapping *mapping;
  uint32_t slot;
  CuframesFrameInfo info;
};

static bool
message_is_sound (const CuframesRingMessage *message)
{
  uint64_t data_bytes, meta_bytes, control_bytes;

  return message->kind == CUFRAMES_RING_FRAMES && message->generation != 0
      && message->slot_count >= CUFRAMES_SLOTS_MIN && message->slot_count <= CUFRAMES_SLOTS_MAX
      && message->slot_bytes > 0 && cuframes_multiply (message->slot_bytes, message->slot_count, &data_bytes)
      && cuframes_within (message->data_offset_bytes, data_bytes, message->arena.size_bytes)
      && message->meta_stride_bytes <= CUFRAMES_META_BYTES_MAX
      && cuframes_multiply (message->meta_stride_bytes, message->slot_count, &meta_bytes)
      && cuframes_add (CUFRAMES_META_OFFSET_BYTES, meta_bytes, &control_bytes) && message->control_bytes == control_bytes
      && (message->fence_offset_bytes == CUFRAMES_NONE || cuframes_within (message->fence_offset_bytes, sizeof (uint64_t), message->arena.size_bytes));
}

static int
map_pages (CuframesMapping *mapping, const int fds[3])
{
  void *control = NULL, *page = NULL;
  int r = cuframes_memfd_map (fds[0], mapping->message.control_bytes, CUFRAMES_MEMFD_OWNER_WRITES, false, &control);

  if (r != 0)
    return r;
  mapping->control = control;
  r = cuframes_memfd_map (fds[2], CUFRAMES_PAGE_BYTES, CUFRAMES_MEMFD_PEER_WRITES, true, &page);
  if (r != 0)
    return r;
  mapping->page = page;
  if (mapping->control->magic != CUFRAMES_LAYOUT_MAGIC || mapping->control->version != CUFRAMES_LAYOUT_VERSION
      || mapping->control->generation != mapping->message.generation)
    return CUFRAMES_E_PEER;
  return 0;
}

/* The descriptors are borrowed. 0, CUFRAMES_E_PEER if they are not what the message says, -ENODEV if this process cannot map that
 * memory, or another negative errno. */
int
cuframes_mapping_new (CuframesConnection *connection, const CuframesRingMessage *message, const int fds[3],
    CuframesArenaImportFunction import, void *user_data, CuframesMapping **ret_mapping)
{
  CuframesMapping *mapping;
  int r;

  if (!message_is_sound (message))
    return CUFRAMES_E_PEER;
  mapping = calloc (1, sizeof *mapping);
  if (mapping == NULL)
    return -ENOMEM;
  __atomic_store_n (&mapping->references, 1, __ATOMIC_RELAXED);
  mapping->watch_fd = -1;
  mapping->depth = cuframes_fork_guard_get_depth ();
  mapping->connection = cuframes_connection_ref (connection);
  mapping->message = *message;
  mapping->message.format = NULL;
  r = map_pages (mapping, fds);
  if (r == 0)
    r = (message->arena.kind == CUFRAMES_MEMORY_HOST ? cuframes_arena_import_host : import) (user_data, &message->arena, fds[1], &mapping->arena);
  if (r != 0) {
    cuframes_mapping_unref (mapping);
    return r == CUFRAMES_E_ABSENT ? -ENODEV : r;
  }
  *ret_mapping = mapping;
  return 0;
}

CuframesMapping *
cuframes_mapping_ref (CuframesMapping *mapping)
{
  __atomic_fetch_add (&mapping->references, 1, __ATOMIC_RELAXED);
  return mapping;
}

/* May close the connection, and with it ends every lease. */
static void
free_mapping (CuframesMapping *mapping)
{
  cuframes_memfd_unmap ((void *) mapping->control, mapping->message.control_bytes);
  mapping->control = NULL;
  mapping->page = cuframes_memfd_unmap (mapping->page, CUFRAMES_PAGE_BYTES);
  mapping->arena = cuframes_arena_unref (mapping->arena);
  mapping->connection = cuframes_connection_unref (mapping->connection);
  mapping->watch_fd = cuframes_close (mapping->watch_fd);
  free (mapping);
}

/* Takes NULL. Always NULL. Where there is a watch, it is the watch that frees. */
CuframesMapping *
cuframes_mapping_unref (CuframesMapping *mapping)
{
  if (mapping == NULL || __atomic_fetch_sub (&mapping->references, 1, __ATOMIC_ACQ_REL) != 1)
    return NULL;
  if (mapping->watch_fd < 0 || mapping->depth != cuframes_fork_guard_get_depth ())
    free_mapping (mapping);
  else
    eventfd_write (mapping->watch_fd, 1);
  return NULL;
}

/* How long until it is tried again, where the driver had no memory or no descriptor for it. */
#define ORPHAN_AGAIN_NS 50000000u

/* A thread of its own, because the subscriber's may be just what waits for a frame that a dead publisher has announced and will never
 * complete. Neither goodbye nor the end of this connection says so: a publisher completes its frames after the one, and lives on after the other. */
static void *
watch (void *data)
{
  CuframesMapping *mapping = data;
  eventfd_t value;
  int r = cuframes_poll (mapping->connection->life_fd, 0, mapping->watch_fd, CUFRAMES_NONE, NULL);

  while (r == 0 && !mapping->arena->ops->orphan (mapping->arena)) {
    r = cuframes_poll (-1, 0, mapping->watch_fd, cuframes_now_ns () + ORPHAN_AGAIN_NS, NULL);
    r = r == CUFRAMES_E_TIMEOUT ? 0 : r;
  }
  /* A poll may fail, as where the limit of descriptors is below two. */
  while (eventfd_read (mapping->watch_fd, &value) < 0)
    continue;
  free_mapping (mapping);
  return NULL;
}

/* Before the first frame that may be incomplete. 0 or a negative errno. */
static int
start_watch (CuframesMapping *mapping)
{
  pthread_attr_t attributes;
  sigset_t all, before;
  pthread_t thread;
  int fd, r;

  if (mapping->watch_fd >= 0 || mapping->arena->ops->orphan == NULL)
    return 0;
  fd = eventfd (0, EFD_CLOEXEC);
  if (fd < 0)
    return -errno;
  mapping->watch_fd = fd;
  pthread_attr_init (&attributes);
  pthread_attr_setdetachstate (&attributes, PTHREAD_CREATE_DETACHED);
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  r = -pthread_create (&thread, &attributes, watch, mapping);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  pthread_attr_destroy (&attributes);
  if (r != 0)
    mapping->watch_fd = cuframes_close (fd);
  return r;
}

static bool
info_is_sound (const CuframesMapping *mapping, const CuframesFrameInfo *info)
{
  if (info->size_bytes > mapping->message.slot_bytes || info->meta_bytes > mapping->message.meta_stride_bytes
      || info->plane_count > CUFRAMES_PLANES_MAX)
    return false;
  for (uint32_t i = 0; i < info->plane_count; i++)
    if (info->plane_offset_bytes[i] > info->size_bytes)
      return false;
  return true;
}

/* 0, CUFRAMES_E_EMPTY, CUFRAMES_E_PEER or a negative errno. The frame is the caller's. */
int
cuframes_mapping_lease (CuframesMapping *mapping, CuframesFrameReader *reader, CuframesReadOrder order, CuframesFrame **ret_frame)
{
  CuframesFrame *frame = malloc (sizeof *frame);
  int r;

  if (frame == NULL)
    return -ENOMEM;
  r = cuframes_frame_reader_lease (reader, order, &frame->slot, &frame->info);
  if (r == 0) {
    r = !info_is_sound (mapping, &frame->info) ? CUFRAMES_E_PEER
        : (frame->info.flags & CUFRAMES_FRAME_FENCED) != 0 ? start_watch (mapping) : 0;
    if (r != 0)
      cuframes_frame_reader_unlease (mapping->page, frame->slot);
  }
  if (r != 0) {
    free (frame);
    return r;
  }
  frame->mapping = cuframes_mapping_ref (mapping);
  __atomic_store_n (&frame->references, 1, __ATOMIC_RELAXED);
  /* relaxed: the thread that leases is the one that compares it with the budget */
  __atomic_fetch_add (&mapping->leased, 1, __ATOMIC_RELAXED);
  *ret_frame = frame;
  return 0;
}

/**
 * cuframes_frame_ref:
 * @frame: a frame
 *
 * Returns: (transfer full): @frame with one reference more. Any thread.
 *
 * Since: 0.1
 */
CuframesFrame *
cuframes_frame_ref (CuframesFrame *frame)
{
  __atomic_fetch_add (&frame->references, 1, __ATOMIC_RELAXED);
  return frame;
}

/**
 * cuframes_frame_unref:
 * @frame: (transfer full) (nullable): a frame
 *
 * Gives a reference back; with the last one the publisher may use the slot again. Work of a GPU that reads the frame must be over:
 * giving it back on the CPU orders nothing on a GPU. Any thread, also after the subscriber was freed. In a child that was forked it frees
 * the child's copy alone.
 *
 * Returns: %NULL
 *
 * Since: 0.1
 */
CuframesFrame *
cuframes_frame_unref (CuframesFrame *frame)
{
  if (frame == NULL || __atomic_fetch_sub (&frame->references, 1, __ATOMIC_ACQ_REL) != 1)
    return NULL;
  if (frame->mapping->depth == cuframes_fork_guard_get_depth ())
    cuframes_frame_reader_unlease (frame->mapping->page, frame->slot);
  /* SYNC budget: release; pairs with fetch_frame(); without it the next lease's bit may be set while this one's still counts, and the
   * publisher drops who holds more than it may. */
  __atomic_fetch_sub (&frame->mapping->leased, 1, __ATOMIC_RELEASE);
  cuframes_mapping_unref (frame->mapping);
  free (frame);
  return NULL;
}

/**
 * cuframes_frame_get_info:
 * @frame: a frame
 *
 * Returns: (transfer none): what is known of it; good as long as @frame. Any thread.
 *
 * Since: 0.1
 */
const CuframesFrameInfo *
cuframes_frame_get_info (const CuframesFrame *frame)
{
  return &frame->info;
}

/**
 * cuframes_frame_is_complete:
 * @frame: a frame
 *
 * Looks, without calling the driver, whether the GPU has written all of a frame that was announced before it had.
 *
 * Returns: whether it is known to be complete; %FALSE for a %CUFRAMES_FRAME_FENCED frame without %CUFRAMES_FRAME_MIRRORED. Any thread.
 *
 * Since: 0.1
 */
bool
cuframes_frame_is_complete (const CuframesFrame *frame)
{
  if ((frame->info.flags & CUFRAMES_FRAME_FENCED) == 0)
    return true;
  return (frame->info.flags & CUFRAMES_FRAME_MIRRORED) != 0 && cuframes_fence_is_reached (frame->mapping->control, frame->info.fence_value);
}

/**
 * cuframes_frame_is_orphaned:
 * @frame: a frame
 *
 * Looks, without waiting, whether the publisher and its memory are gone, so that a frame that is not complete by now never will be. Ask behind
 * cuframes_arena_cuda_queue_wait(): if it is so, another subscriber may have let that wait go already, and
 * cuframes_arena_cuda_wait_host() with a timeout of 0 tells whether the frame is complete. A publisher that ends later is not
 * noticed here: what was queued by then cannot be taken back.
 *
 * Returns: whether they are gone. Any thread.
 *
 * Since: 0.1
 */
bool
cuframes_frame_is_orphaned (const CuframesFrame *frame)
{
  return cuframes_poll (frame->mapping->connection->life_fd, 0, -1, 0, NULL) == 0;
}

/**
 * cuframes_frame_get_address:
 * @frame: a frame
 *
 * Returns: where its data starts: a pointer of this process to read from, or a CUdeviceptr. A write through it faults. Any thread.
 *
 * Since: 0.1
 */
uint64_t
cuframes_frame_get_address (const CuframesFrame *frame)
{
  return cuframes_arena_get_address (frame->mapping->arena) + cuframes_frame_get_offset (frame);
}

/**
 * cuframes_frame_get_offset:
 * @frame: a frame
 *
 * Returns: where its data starts in its arena, in bytes. Any thread.
 *
 * Since: 0.1
 */
uint64_t
cuframes_frame_get_offset (const CuframesFrame *frame)
{
  return frame->mapping->message.data_offset_bytes + frame->slot * frame->mapping->message.slot_bytes;
}

/**
 * cuframes_frame_get_metas:
 * @frame: a frame
 *
 * Returns: (transfer none): its serialised metas, `meta_bytes` of them, in host memory that the publisher could write: copy them before
 * checking them. Any thread.
 *
 * Since: 0.1
 */
const void *
cuframes_frame_get_metas (const CuframesFrame *frame)
{
  return (const uint8_t *) frame->mapping->control + CUFRAMES_META_OFFSET_BYTES + frame->slot * frame->mapping->message.meta_stride_bytes;
}

/**
 * cuframes_frame_peek_arena:
 * @frame: a frame
 *
 * Returns: (transfer none): the arena it lies in; the same for every frame of a generation. Any thread.
 *
 * Since: 0.1
 */
CuframesArena *
cuframes_frame_peek_arena (const CuframesFrame *frame)
{
  return frame->mapping->arena;
}
