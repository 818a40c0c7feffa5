/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keeps buffers until nobody has their lease any more. A lease is the writing end of a pipe that travels with the buffer's descriptors. The
 * kernel hangs the pipe up when the last copy of that end is closed: in queues, in sockets, in every process that it reached, however that
 * process ends. Nothing is ever read, so what a receiver writes tells nothing. Knows neither sockets nor messages. */
#define _GNU_SOURCE
#include "gstcuframesholds.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "cuframes-util.h"

struct _GstCuframesHolds
{
  GMutex lock;
  GCond changed;
  GThread *thread;              /* from the first hold on */
  gint epoll_fd;
  gint wake_fd;
  guint count;
  gboolean flushing;
  gboolean closing;
  gboolean settled;             /* closing, and all that was let go before is released */
  gboolean owned_by_thread;     /* freed while something was held: the thread frees the rest */
};

typedef struct
{
  gint fd;                      /* the reading end */
  GstBuffer *buffer;
} Hold;

GstCuframesHolds *
gst_cuframes_holds_new (void)
{
  GstCuframesHolds *self = g_new0 (GstCuframesHolds, 1);

  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  self->epoll_fd = self->wake_fd = -1;
  return self;
}

static void
destroy (GstCuframesHolds * self)
{
  self->epoll_fd = cuframes_close (self->epoll_fd);
  self->wake_fd = cuframes_close (self->wake_fd);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->changed);
  g_free (self);
}

/* The buffer goes first: who waits for room may want its memory. */
static void
release (GstCuframesHolds * self, Hold * hold)
{
  /* A forked child's copy of the descriptor would keep it watched. */
  epoll_ctl (self->epoll_fd, EPOLL_CTL_DEL, hold->fd, NULL);
  cuframes_close (hold->fd);
  gst_buffer_unref (hold->buffer);
  g_free (hold);
  g_mutex_lock (&self->lock);
  self->count--;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* Releases one that was let go; 0 if there is none. It is reported once, to one of the threads that ask. One at a time, so that a thread that
 * is kept from running keeps no more. */
static int
reap (GstCuframesHolds * self, int timeout_ms)
{
  struct epoll_event event;
  const int n = epoll_wait (self->epoll_fd, &event, 1, timeout_ms);

  if (n > 0 && event.data.ptr != NULL)
    release (self, event.data.ptr);
  return n;
}

/* Once it is to end it first releases all that was let go until then, and says so. */
static gpointer
watch (gpointer data)
{
  GstCuframesHolds *self = data;
  gboolean over = FALSE, settling = FALSE, ours;

  while (!over) {
    const int n = reap (self, settling ? 0 : -1);
    g_mutex_lock (&self->lock);
    if (settling && n == 0) {
      self->settled = TRUE;
      g_cond_broadcast (&self->changed);
    }
    settling = self->closing && !self->settled;
    over = self->settled && self->count == 0;
    g_mutex_unlock (&self->lock);
  }
  g_mutex_lock (&self->lock);
  ours = self->owned_by_thread;
  g_mutex_unlock (&self->lock);
  if (ours)
    destroy (self);
  return NULL;
}

/* Takes NULL. Always NULL. What is still held stays so until its leases go; the watching thread then ends by itself. It may be this thread,
 * which frees a buffer and with it the last user. */
GstCuframesHolds *
gst_cuframes_holds_free (GstCuframesHolds * self)
{
  GThread *thread;

  if (self == NULL)
    return NULL;
  g_mutex_lock (&self->lock);
  thread = self->thread;
  self->closing = TRUE;
  if (thread != NULL)
    eventfd_write (self->wake_fd, 1);
  while (thread != NULL && thread != g_thread_self () && !self->settled)
    g_cond_wait (&self->changed, &self->lock);
  self->owned_by_thread = thread != NULL && (thread == g_thread_self () || self->count > 0);
  if (self->owned_by_thread) {
    g_mutex_unlock (&self->lock);
    g_thread_unref (thread);
    return NULL;
  }
  g_mutex_unlock (&self->lock);
  if (thread != NULL)
    g_thread_join (thread);
  destroy (self);
  return NULL;
}

/* Called with the lock. */
static gboolean
start (GstCuframesHolds * self)
{
  struct epoll_event wake = {.events = EPOLLIN | EPOLLET };

  if (self->thread != NULL)
    return TRUE;
  self->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  self->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (self->epoll_fd >= 0 && self->wake_fd >= 0 && epoll_ctl (self->epoll_fd, EPOLL_CTL_ADD, self->wake_fd, &wake) == 0)
    self->thread = g_thread_try_new ("cuframes-holds", watch, self, NULL);
  if (self->thread != NULL)
    return TRUE;
  self->epoll_fd = cuframes_close (self->epoll_fd);
  self->wake_fd = cuframes_close (self->wake_fd);
  return FALSE;
}

/* A hang-up is reported whether it was asked for or not; anything else is not of interest. */
static gboolean
watch_for_hang_up (GstCuframesHolds * self, Hold * hold)
{
  struct epoll_event hang_up = {.events = EPOLLONESHOT,.data.ptr = hold };
  gboolean good;

  g_mutex_lock (&self->lock);
  good = start (self) && epoll_ctl (self->epoll_fd, EPOLL_CTL_ADD, hold->fd, &hang_up) == 0;
  self->count += good;
  g_mutex_unlock (&self->lock);
  return good;
}

/* Keeps a reference to the buffer until every copy of the lease that is returned is closed. Returns -1 if there is none to be had, with
 * errno; then nothing is kept. */
gint
gst_cuframes_holds_add (GstCuframesHolds * self, GstBuffer * buffer)
{
  gint ends[2];
  Hold *hold;

  if (pipe2 (ends, O_CLOEXEC | O_NONBLOCK) < 0)
    return -1;
  hold = g_new (Hold, 1);
  hold->fd = ends[0];
  hold->buffer = gst_buffer_ref (buffer);
  if (watch_for_hang_up (self, hold))
    return ends[1];
  gst_buffer_unref (buffer);
  cuframes_close (ends[0]);
  cuframes_close (ends[1]);
  g_free (hold);
  return -1;
}

guint
gst_cuframes_holds_get_count (GstCuframesHolds * self)
{
  guint count;

  g_mutex_lock (&self->lock);
  count = self->count;
  g_mutex_unlock (&self->lock);
  return count;
}

/* Room is made here too: on a busy machine the thread may be long in coming. */
static void
make_room (GstCuframesHolds * self, guint room)
{
  gboolean full;

  do {
    g_mutex_lock (&self->lock);
    full = self->count >= room;
    g_mutex_unlock (&self->lock);
  } while (full && reap (self, 0) > 0);
}

/* Waits until fewer than that are held. FALSE if the time, which may be GST_CLOCK_TIME_NONE, is over, or when flushing. */
gboolean
gst_cuframes_holds_wait (GstCuframesHolds * self, guint room, GstClockTime timeout)
{
  const guint64 us = timeout / GST_USECOND;
  const gint64 now = g_get_monotonic_time ();
  const gint64 end = timeout == GST_CLOCK_TIME_NONE || us > (guint64) (G_MAXINT64 - now) ? G_MAXINT64 : now + (gint64) us;
  gboolean in_time = TRUE, good;

  make_room (self, room);
  g_mutex_lock (&self->lock);
  while (self->count >= room && !self->flushing && in_time)
    if (end == G_MAXINT64)
      g_cond_wait (&self->changed, &self->lock);
    else
      in_time = g_cond_wait_until (&self->changed, &self->lock, end);
  good = self->count < room && !self->flushing;
  g_mutex_unlock (&self->lock);
  return good;
}

void
gst_cuframes_holds_set_flushing (GstCuframesHolds * self, gboolean flushing)
{
  g_mutex_lock (&self->lock);
  self->flushing = flushing;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}
