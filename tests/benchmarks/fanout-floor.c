/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The floor: what the kernel takes to wake N processes through pipes at the same pace, without frames. The woken processes of a
 * CUDA case also read a stamp back from memory of their own, to know what that costs when N do it at once. */
#include "fanout.h"

#include <poll.h>
#include <unistd.h>

#include "stamp-cuda.h"

/* Frames per second of the floor when the cases run without a pace. */
#define FLOOR_FPS 60

int
fanout_waker_main (FanoutChild * child)
{
  FanoutControl *control = child->control;
  const FanoutConfig *config = &control->config;
  FanoutPublisherResult *result = &control->publisher;
  guint64 period_ns = GST_SECOND / (config->fps != 0 ? config->fps : FLOOR_FPS);
  guint64 next_ns, cpu_begin_ns = 0, wall_begin_ns = 0;
  const gchar byte = 0;

  fanout_child_tell (child, FANOUT_EVENT_STARTED, NULL);
  while (poll (&(struct pollfd) {.fd = child->command_fd,.events = POLLIN }, 1, 2) == 0 && !atomic_load (&control->go))
    continue;
  next_ns = fanout_now_ns ();
  for (guint64 n = 0; n < config->warmup + config->frames; n++) {
    if (n == config->warmup) {
      atomic_store (&control->first, 1);
      cpu_begin_ns = fanout_cpu_ns ();
      wall_begin_ns = fanout_now_ns ();
    }
    next_ns += period_ns;
    fanout_sleep_until (next_ns);
    atomic_store (&control->woken, fanout_now_ns ());
    for (guint i = 0; i < config->subscribers; i++)
      if (write (config->wake_fds[i], &byte, 1) != 1)
        result->late++;
  }
  result->frames = config->frames;
  result->cpu_ns = fanout_cpu_ns () - cpu_begin_ns;
  result->wall_ns = fanout_now_ns () - wall_begin_ns;
  result->copies = result->drops = -1;
  fanout_child_tell (child, FANOUT_EVENT_DONE, NULL);
  return 0;
}

typedef struct
{
  StampCuda *cuda;
  GstVideoInfo info;
  GstBuffer *frame;
} Local;

static void
local_init (Local * self, const FanoutConfig * config)
{
  *self = (Local) { 0 };
  if (!config->cuda)
    return;
  gst_video_info_set_format (&self->info, gst_video_format_from_string (config->format), config->width, config->height);
  self->cuda = stamp_cuda_new ();
  if (self->cuda != NULL)
    self->frame = stamp_cuda_local_frame (self->cuda, &self->info);
}

static guint64
local_read (Local * self, guint64 from_ns)
{
  Stamp stamp;

  if (self->frame == NULL || stamp_cuda_read (self->cuda, self->frame, &self->info, &stamp) != STAMP_WHOLE)
    return from_ns;
  return fanout_now_ns ();
}

int
fanout_sleeper_main (FanoutChild * child)
{
  FanoutControl *control = child->control;
  FanoutSubscriberResult *result = &control->subscribers[child->index];
  guint32 *pad = fanout_samples_pad (control, child->index);
  guint32 *verified = fanout_samples_verified (control, child->index);
  struct pollfd fds[] = { {.fd = control->config.sleep_fds[child->index],.events = POLLIN}, {.fd = child->command_fd} };
  guint64 cpu_begin_ns = 0;
  Local local;
  gchar byte;

  fanout_child_touch_samples (pad, 2 * control->config.frames);
  local_init (&local, &control->config);
  fanout_child_tell (child, FANOUT_EVENT_READY, NULL);
  while (result->frames < control->config.frames && poll (fds, 2, -1) >= 0 && fds[1].revents == 0) {
    guint64 pad_ns, verified_ns;

    if (read (fds[0].fd, &byte, 1) != 1)
      break;
    pad_ns = fanout_now_ns ();
    verified_ns = local_read (&local, pad_ns);
    if (atomic_load (&control->first) == 0)
      continue;
    if (cpu_begin_ns == 0)
      cpu_begin_ns = fanout_cpu_ns ();
    pad[result->frames] = fanout_elapsed (atomic_load (&control->woken), pad_ns);
    verified[result->frames++] = fanout_elapsed (pad_ns, verified_ns);
  }
  result->cpu_ns = cpu_begin_ns != 0 ? fanout_cpu_ns () - cpu_begin_ns : 0;
  result->copies = -1;
  gst_clear_buffer (&local.frame);
  stamp_cuda_free (local.cuda);
  fanout_child_tell (child, FANOUT_EVENT_DONE, NULL);
  return 0;
}
