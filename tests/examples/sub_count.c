/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a channel with libcuframes alone, no GStreamer: counts frames, gaps and frames per second, and checks the frame numbers in
 * the pixels of frames that carry some (pub_pattern's do). */
#include <cuframes.h>

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stamp.h"

#define SECOND UINT64_C (1000000000)
/* GST_VIDEO_FORMAT_NV12 */
#define FORMAT_NV12 23

enum
{
  EXIT_DONE = 0,
  EXIT_USAGE = 1,
  EXIT_NO_CHANNEL = 2,
  EXIT_NO_FRAME = 3,
  EXIT_DIED = 4,
  EXIT_BAD_FRAME = 5,
};

static const char help[] =
    "Usage: sub_count [OPTION...] CHANNEL\n"
    "Counts the frames of a channel until it ends, or SIGINT or SIGTERM comes.\n\n"
    "  -p, --path             CHANNEL is the path of a socket, or @name for an abstract one\n"
    "  -n, --frames=N         end after N frames\n"
    "  -s, --seconds=N        end N seconds after the first frame\n"
    "  -t, --timeout=N        seconds to wait for the channel and for each frame (10)\n"
    "  -l, --latest           take the newest frame each time, not every frame\n"
    "  -a, --all              have a publisher whose overflow policy is \"wait\" wait for this program\n"
    "  -r, --reconnect        when the publisher goes, wait for it to come back\n"
    "  -q, --quiet            only the last line\n"
    "  -h, --help             print this\n\n"
    "Exit status: 0 it ended as asked, or the publisher ended the channel; 1 wrong options or out of resources; 2 no such channel\n"
    "in time, or it lets nobody in; 3 no frame in time; 4 the publisher died; 5 a frame was torn, repeated, stale or reordered.\n";

typedef struct
{
  const char *channel;
  bool is_path, latest, all, reconnect, quiet;
  uint64_t frames, seconds, timeout_ns;
} Options;

typedef struct
{
  Options options;
  CuframesSubscriber *subscriber;
  StampTracker tracker;
  uint64_t frames, gaps, missed, connections;
  uint64_t first_ns, last_ns, report_ns, report_frames;
} Counter;

/* What the signal thread ends. Its waits are the only ones of this program. */
static CuframesSubscriber *cancellable;
static pthread_t signal_thread;
static atomic_bool interrupted, leaving;

static uint64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t) now.tv_sec * SECOND + (uint64_t) now.tv_nsec;
}

static void *
await_signal (void *user_data)
{
  int number;

  while (sigwait (user_data, &number) != 0)
    continue;
  atomic_store (&interrupted, !atomic_load (&leaving));
  cuframes_subscriber_cancel (cancellable, true);
  return NULL;
}

static bool
start_signal_thread (CuframesSubscriber * subscriber)
{
  static sigset_t signals;

  cancellable = subscriber;
  sigemptyset (&signals);
  sigaddset (&signals, SIGINT);
  sigaddset (&signals, SIGTERM);
  pthread_sigmask (SIG_BLOCK, &signals, NULL);
  return pthread_create (&signal_thread, NULL, await_signal, &signals) == 0;
}

static void
stop_signal_thread (void)
{
  atomic_store (&leaving, true);
  pthread_kill (signal_thread, SIGTERM);
  pthread_join (signal_thread, NULL);
}

/* The lines of an NV12 picture, which is what pub_pattern publishes. */
static bool
image_of (const CuframesFrame * frame, const CuframesFrameInfo * info, StampImage * ret_image)
{
  uint8_t *data = (uint8_t *) (uintptr_t) cuframes_frame_get_address (frame);
  uint32_t even_width = (info->width + 1) / 2 * 2;

  if (info->format != FORMAT_NV12 || info->plane_count != 2)
    return false;
  ret_image->plane_count = 2;
  ret_image->planes[0] = (StampPlane) { data + info->plane_offset_bytes[0], info->plane_stride_bytes[0], info->width, info->height };
  ret_image->planes[1] = (StampPlane) { data + info->plane_offset_bytes[1], info->plane_stride_bytes[1], even_width,
    (info->height + 1) / 2
  };
  return true;
}

/* Frames of others than pub_pattern carry no stamp, and are no error. */
static void
check_pixels (Counter * self, const CuframesFrame * frame, const CuframesFrameInfo * info)
{
  StampImage image;
  Stamp stamp;
  StampState state;

  if (!image_of (frame, info, &image))
    return;
  state = stamp_read (&image, &stamp);
  if (state != STAMP_ABSENT)
    stamp_count (&self->tracker, state, &stamp);
}

static void
report (Counter * self)
{
  uint64_t elapsed_ns = self->last_ns - self->report_ns;

  if (elapsed_ns < SECOND)
    return;
  if (!self->options.quiet) {
    printf ("%" PRIu64 " frames, %.1f per second, %" PRIu64 " missed in %" PRIu64 " gaps\n", self->frames,
        (double) self->report_frames * 1e9 / (double) elapsed_ns, self->missed, self->gaps);
    fflush (stdout);
  }
  self->report_ns = self->last_ns;
  self->report_frames = 0;
}

static void
count_frame (Counter * self, const CuframesItem * item)
{
  self->last_ns = now_ns ();
  if (self->frames++ == 0)
    self->first_ns = self->report_ns = self->last_ns;
  else
    self->report_frames++;
  self->missed += item->missed;
  self->gaps += item->missed != 0;
  check_pixels (self, item->frame, item->info);
  report (self);
}

static bool
has_enough (const Counter * self)
{
  const Options *options = &self->options;

  return (options->frames != 0 && self->frames >= options->frames)
      || (options->seconds != 0 && self->frames != 0 && self->last_ns - self->first_ns >= options->seconds * SECOND);
}

static int
connect_to (Counter * self)
{
  int r = cuframes_subscriber_connect (self->subscriber, self->options.timeout_ns);

  if (r == 0) {
    self->connections++;
    return -1;
  }
  if (r == CUFRAMES_E_CANCELLED)
    return EXIT_DONE;
  if (r == CUFRAMES_E_REFUSED)
    fprintf (stderr, "%s refuses: %s\n", self->options.channel, cuframes_subscriber_get_refusal (self->subscriber));
  else if (r < 0)
    fprintf (stderr, "%s: %s\n", self->options.channel, strerror (-r));
  else
    fprintf (stderr, "%s: nobody publishes there\n", self->options.channel);
  return EXIT_NO_CHANNEL;
}

static int
on_disconnect (Counter * self, uint32_t bye)
{
  static const char *const reasons[] = { "the publisher died", "the publisher ended", "the publisher evicted this program",
    "this program left too much unread", "the connection broke the protocol"
  };

  if (!self->options.quiet)
    printf ("%s\n", reasons[bye < 5 ? bye : 4]);
  if (self->options.reconnect)
    return connect_to (self);
  return bye == CUFRAMES_BYE_SHUTDOWN ? EXIT_DONE : EXIT_DIED;
}

static int
on_item (Counter * self, const CuframesItem * item)
{
  switch (item->kind) {
    case CUFRAMES_ITEM_FRAME:
      count_frame (self, item);
      cuframes_frame_unref (item->frame);
      return has_enough (self) ? EXIT_DONE : -1;
    case CUFRAMES_ITEM_FORMAT:
      if (!self->options.quiet)
        printf ("format: %.*s\n", (int) item->byte_count, (const char *) item->bytes);
      return -1;
    case CUFRAMES_ITEM_EVENT:
      return item->event_kind == CUFRAMES_EVENT_EOS && !self->options.reconnect ? EXIT_DONE : -1;
    case CUFRAMES_ITEM_DISCONNECTED:
      return on_disconnect (self, item->bye);
    case CUFRAMES_ITEM_CONNECTED:
    case CUFRAMES_ITEM_PACKET:
      return -1;
  }
  return -1;
}

/* Until something decides the exit status. */
static int
follow (Counter * self)
{
  int status = connect_to (self);

  while (status < 0) {
    CuframesItem item;
    int r = cuframes_subscriber_next (self->subscriber, self->options.timeout_ns, &item);

    if (r == 0)
      status = on_item (self, &item);
    else if (r == CUFRAMES_E_CANCELLED)
      status = EXIT_DONE;
    else if (r == CUFRAMES_E_TIMEOUT)
      status = EXIT_NO_FRAME;
    else {
      fprintf (stderr, "%s: %s\n", self->options.channel, r < 0 ? strerror (-r) : "the connection is gone");
      status = EXIT_DIED;
    }
  }
  if (status == EXIT_NO_FRAME)
    fprintf (stderr, "%s: no frame in time\n", self->options.channel);
  return stamp_errors (&self->tracker) != 0 ? EXIT_BAD_FRAME : status;
}

static void
summarise (const Counter * self)
{
  uint64_t elapsed_ns = self->last_ns - self->first_ns;

  printf ("%s%" PRIu64 " frames, %.1f per second, %" PRIu64 " missed in %" PRIu64 " gaps", atomic_load (&interrupted) ? "interrupted: " : "",
      self->frames, elapsed_ns == 0 ? 0.0 : (double) (self->frames - 1) * 1e9 / (double) elapsed_ns, self->missed, self->gaps);
  if (self->tracker.frames + self->tracker.torn != 0)
    printf ("; stamped: %" PRIu64 ", torn %" PRIu64 ", repeated %" PRIu64 ", stale %" PRIu64 ", reordered %" PRIu64, self->tracker.frames,
        self->tracker.torn, self->tracker.repeated, self->tracker.stale, self->tracker.reordered);
  printf ("\n");
}

/* Whole numbers only, and not more than nanoseconds can hold. */
static bool
parse_number (const char *text, uint64_t * ret_number)
{
  char *end;
  uint64_t number = strtoull (text, &end, 10);

  if (*text < '0' || *text > '9' || *end != '\0' || number >= UINT64_MAX / SECOND)
    return false;
  *ret_number = number;
  return true;
}

static bool
parse_option (int c, Options * options)
{
  switch (c) {
    case 'p':
      return options->is_path = true;
    case 'l':
      return options->latest = true;
    case 'a':
      return options->all = true;
    case 'r':
      return options->reconnect = true;
    case 'q':
      return options->quiet = true;
    case 'n':
      return parse_number (optarg, &options->frames);
    case 's':
      return parse_number (optarg, &options->seconds);
    case 't':
      if (!parse_number (optarg, &options->timeout_ns))
        return false;
      options->timeout_ns *= SECOND;
      return true;
    case 'h':
      fputs (help, stdout);
      exit (EXIT_DONE);
    default:
      return false;
  }
}

static bool
parse_options (int argc, char **argv, Options * options)
{
  static const struct option longs[] = {
    {"path", no_argument, NULL, 'p'}, {"frames", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 's'},
    {"timeout", required_argument, NULL, 't'}, {"latest", no_argument, NULL, 'l'}, {"all", no_argument, NULL, 'a'},
    {"reconnect", no_argument, NULL, 'r'}, {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}
  };
  static const char shorts[] = "pn:s:t:larqh";
  bool good = true;

  options->timeout_ns = 10 * SECOND;
  for (int c = getopt_long (argc, argv, shorts, longs, NULL); c != -1; c = getopt_long (argc, argv, shorts, longs, NULL))
    good &= parse_option (c, options);
  options->channel = optind + 1 == argc ? argv[optind] : NULL;
  return good && options->channel != NULL;
}

int
main (int argc, char **argv)
{
  Counter self = { 0 };
  CuframesSubscriberConfig config = {.name = "sub_count" };
  char path[256];
  int r, status;

  if (!parse_options (argc, argv, &self.options)) {
    fputs (help, stderr);
    return EXIT_USAGE;
  }
  config.socket_path = self.options.channel;
  config.delivery = self.options.latest ? CUFRAMES_DELIVERY_LATEST : CUFRAMES_DELIVERY_FIFO;
  config.lossless = self.options.all;
  if (!self.options.is_path) {
    r = cuframes_channel_path (self.options.channel, path, sizeof path);
    if (r < 0) {
      fprintf (stderr, "%s is no name of a channel: %s\n", self.options.channel, strerror (-r));
      return EXIT_USAGE;
    }
    config.socket_path = path;
  }
  r = cuframes_subscriber_new (&config, &self.subscriber);
  if (r < 0 || !start_signal_thread (self.subscriber)) {
    fprintf (stderr, "cannot subscribe: %s\n", strerror (-r));
    return EXIT_USAGE;
  }
  status = follow (&self);
  summarise (&self);
  stop_signal_thread ();
  cuframes_subscriber_free (self.subscriber);
  return status;
}
