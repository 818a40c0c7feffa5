/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes to a descriptor that may be a pipe nobody reads, and still ends at a signal. Signals reach the main thread alone, and there only while
 * it waits or writes. Knows nothing of channels. */
#define _GNU_SOURCE
#include "cat-output.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;
static sigset_t ours, before;

/* A signal that comes between the look at `stopped` and the write would leave us in the write; the alarm gets us out. */
static void
on_signal (int number)
{
  stopped = 1;
  alarm (1);
}

/* Before any other thread is there, since threads inherit what is blocked. */
void
cat_output_catch_signals (void)
{
  static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM };
  const struct sigaction action = {.sa_handler = on_signal };

  sigemptyset (&ours);
  for (size_t i = 0; i < G_N_ELEMENTS (numbers); i++) {
    sigaddset (&ours, numbers[i]);
    sigaction (numbers[i], &action, NULL);
  }
  pthread_sigmask (SIG_BLOCK, &ours, &before);
  signal (SIGPIPE, SIG_IGN);
}

bool
cat_output_is_stopped (void)
{
  return stopped != 0;
}

/* Until one of the descriptors is ready, a signal comes, or the reader of fd goes. polls has room for one more than count. */
CatOutputResult
cat_output_wait (struct pollfd *polls, unsigned count, int fd)
{
  polls[count] = (struct pollfd) {.fd = fd };
  if (ppoll (polls, count + 1, NULL, &before) < 0 && errno != EINTR)
    return CAT_OUTPUT_FAILED;
  if (stopped)
    return CAT_OUTPUT_STOPPED;
  return polls[count].revents & (POLLERR | POLLHUP | POLLNVAL) ? CAT_OUTPUT_CLOSED : CAT_OUTPUT_OK;
}

/* What is there under that name, to be written to; ret_fd is given. Whoever opens a named pipe waits for its reader. */
CatOutputResult
cat_output_open (const char *name, int *ret_fd)
{
  int fd = -1, error = EINTR;

  pthread_sigmask (SIG_UNBLOCK, &ours, NULL);
  while (fd < 0 && !stopped && error == EINTR) {
    fd = open (name, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC, 0666);
    error = errno;
  }
  pthread_sigmask (SIG_BLOCK, &ours, NULL);
  *ret_fd = fd;
  errno = error;
  if (fd >= 0)
    return CAT_OUTPUT_OK;
  return stopped ? CAT_OUTPUT_STOPPED : CAT_OUTPUT_FAILED;
}

/* All of it. */
CatOutputResult
cat_output_write (int fd, const void *bytes, size_t byte_count)
{
  const guint8 *next = bytes;
  ssize_t written = 0;
  int error = 0;

  pthread_sigmask (SIG_UNBLOCK, &ours, NULL);
  while (byte_count > 0 && !stopped && error == 0) {
    written = write (fd, next, byte_count);
    if (written > 0) {
      next += written;
      byte_count -= (size_t) written;
    } else if (written < 0 && errno == EAGAIN)
      poll (&(struct pollfd) {.fd = fd,.events = POLLOUT}, 1, -1);
    else if (written < 0 && errno != EINTR)
      error = errno;
  }
  pthread_sigmask (SIG_BLOCK, &ours, NULL);
  errno = error;
  if (byte_count == 0)
    return CAT_OUTPUT_OK;
  return stopped ? CAT_OUTPUT_STOPPED : error == EPIPE ? CAT_OUTPUT_CLOSED : CAT_OUTPUT_FAILED;
}

/* The bytes of a line that hold pixels, and the lines; false for layouts that are not lines of whole pixels. */
static bool
measure_plane (const GstVideoFrame *frame, guint plane, gsize *ret_line_bytes, guint *ret_lines)
{
  *ret_line_bytes = 0;
  *ret_lines = 0;
  for (guint i = 0; i < GST_VIDEO_FRAME_N_COMPONENTS (frame); i++) {
    const gsize line_bytes = (gsize) GST_VIDEO_FRAME_COMP_WIDTH (frame, i) * GST_VIDEO_FRAME_COMP_PSTRIDE (frame, i);
    if (GST_VIDEO_FRAME_COMP_PLANE (frame, i) != plane)
      continue;
    if (line_bytes == 0)
      return false;
    *ret_line_bytes = MAX (*ret_line_bytes, line_bytes);
    *ret_lines = GST_VIDEO_FRAME_COMP_HEIGHT (frame, i);
  }
  return *ret_line_bytes > 0 && !GST_VIDEO_FORMAT_INFO_IS_TILED (frame->info.finfo);
}

/* Whatever the layout, in GStreamer's default one. */
static CatOutputResult
write_default_layout (int fd, const GstVideoFrame *frame)
{
  CatOutputResult result = CAT_OUTPUT_FAILED;
  GstVideoFrame copy;
  GstVideoInfo info;
  GstBuffer *buffer;

  gst_video_info_set_interlaced_format (&info, GST_VIDEO_FRAME_FORMAT (frame), GST_VIDEO_INFO_INTERLACE_MODE (&frame->info),
      GST_VIDEO_FRAME_WIDTH (frame), GST_VIDEO_FRAME_HEIGHT (frame));
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
  errno = ENOMEM;
  if (buffer != NULL && gst_video_frame_map (&copy, &info, buffer, GST_MAP_READWRITE)) {
    gst_video_frame_copy (&copy, frame);
    result = cat_output_write (fd, GST_VIDEO_FRAME_PLANE_DATA (&copy, 0), GST_VIDEO_INFO_SIZE (&info));
    gst_video_frame_unmap (&copy);
  }
  gst_clear_buffer (&buffer);
  return result;
}

static CatOutputResult
write_plane (int fd, const GstVideoFrame *frame, guint plane, gsize line_bytes, guint lines)
{
  const guint8 *data = GST_VIDEO_FRAME_PLANE_DATA (frame, plane);
  const gint stride = GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane);
  CatOutputResult result;
  guint8 *packed;

  if (stride > 0 && (gsize) stride == line_bytes)
    return cat_output_write (fd, data, line_bytes * lines);
  packed = g_malloc (line_bytes * lines);
  for (guint i = 0; i < lines; i++)
    memcpy (packed + i * line_bytes, data + (gssize) i * stride, line_bytes);
  result = cat_output_write (fd, packed, line_bytes * lines);
  g_free (packed);
  return result;
}

/* The planes one behind the other without padding. */
CatOutputResult
cat_output_write_frame (int fd, const GstVideoFrame *frame)
{
  CatOutputResult result = CAT_OUTPUT_OK;
  gsize line_bytes;
  guint lines;

  for (guint plane = 0; plane < GST_VIDEO_FRAME_N_PLANES (frame); plane++)
    if (!measure_plane (frame, plane, &line_bytes, &lines))
      return write_default_layout (fd, frame);
  for (guint plane = 0; result == CAT_OUTPUT_OK && plane < GST_VIDEO_FRAME_N_PLANES (frame); plane++) {
    measure_plane (frame, plane, &line_bytes, &lines);
    result = write_plane (fd, frame, plane, line_bytes, lines);
  }
  return result;
}
