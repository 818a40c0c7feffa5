/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A publisher of frames in GPU memory that says of them what no element would. */
#include "cuda-forger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuframes-arena-cuda.h"
#include "cuframes-publisher.h"
#include "gstcuframescompat.h"

#define WIDTH 64u
#define HEIGHT 64u
#define SLOT_BYTES (WIDTH * HEIGHT)
#define SLOTS 4u

static gboolean
publish (CuframesPublisher * publisher, CuframesRing * ring)
{
  const CuframesFrameInfo info = {.size_bytes = SLOT_BYTES,.moment_ns = CUFRAMES_NONE,.plane_count = 1,.format = GST_VIDEO_FORMAT_GRAY8,
    .width = WIDTH,.height = HEIGHT,.plane_stride_bytes = {WIDTH} };
  guint32 slot;
  gint r = cuframes_ring_claim (ring, 0, &slot);

  if (r != 0)
    return FALSE;
  r = cuframes_publisher_publish (publisher, ring, slot, &info, NULL);
  cuframes_ring_release (ring, slot);
  return r == 0;
}

int
play_forger (int argc, char **argv)
{
  const CuframesPublisherConfig config = {.socket_path = argv[0],.max_leases = (guint32) atoi (argv[2]) };
  CuframesRingConfig ring_config = {.slot_bytes = SLOT_BYTES,.slot_count = SLOTS,.reserve_count = 1,
    .data_offset_bytes = CUFRAMES_ARENA_CUDA_FENCE_BYTES,.fence_offset_bytes = 0,.format = argv[1],.format_bytes = (guint32) strlen (argv[1]) + 1 };
  CuframesCudaDevice *device = NULL;
  CuframesPublisher *publisher = NULL;
  CuframesRing *ring = NULL;
  char text[CUFRAMES_TEXT_BYTES], line[64];
  GstCudaContext *context;

  (void) argc;
  if (!gst_cuda_load_library () || (context = gst_cuda_context_new (0)) == NULL
      || cuframes_cuda_device_new (gst_cuda_context_get_handle (context), gst_object_unref, context, text, sizeof text, &device) != 0
      || cuframes_arena_new_cuda (device, CUFRAMES_ARENA_CUDA_FENCE_BYTES + SLOTS * SLOT_BYTES, &ring_config.arena) != 0
      || cuframes_publisher_new (&config, &publisher) != 0 || cuframes_publisher_start_ring (publisher, &ring_config, &ring) != 0)
    return 1;
  printf ("open\n");
  while (fgets (line, sizeof line, stdin) != NULL)
    printf ("published %d\n", publish (publisher, ring));
  cuframes_publisher_free (publisher);
  cuframes_ring_unref (ring);
  cuframes_arena_unref (ring_config.arena);
  cuframes_cuda_device_unref (device);
  return 0;
}
