/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishes a moving pattern with libcuframes alone, no GStreamer: a grey ramp that walks, NV12, with the frame's number in the pixels
 * (see tests/stamp). `cuframessrc` shows it, sub_count counts it. */
#include <cuframes.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stamp.h"

#define SECOND UINT64_C (1000000000)
/* GST_VIDEO_FORMAT_NV12 */
#define FORMAT_NV12 23
#define ROW_ALIGNMENT 256
/* This program writes one frame at a time. */
#define RESERVE 1

enum
{
  EXIT_DONE = 0,
  EXIT_USAGE = 1,
  EXIT_NO_CHANNEL = 2,
  EXIT_NO_SUBSCRIBER = 3,
};

static const char help[] =
    "Usage: pub_pattern [OPTION...] CHANNEL\n"
    "Publishes a pattern on a channel until SIGINT or SIGTERM comes.\n\n"
    "  -p, --path             CHANNEL is the path of a socket, or @name for an abstract one\n"
    "  -z, --size=WxH         size of the frames (1280x720)\n"
    "  -f, --fps=N            frames per second, 0 for as many as go (30)\n"
    "  -n, --frames=N         end after N frames\n"
    "  -k, --slots=N          frames that subscribers can see (16)\n"
    "  -w, --wait=N           do not begin before N subscribers are there\n"
    "  -t, --timeout=N        seconds to wait for them (10)\n"
    "  -o, --overflow=POLICY  drop, wait or evict when no slot is free (drop)\n"
    "  -q, --quiet            only the last line\n"
    "  -h, --help             print this\n\n"
    "Exit status: 0 it ended as asked; 1 wrong options or out of resources; 2 the channel cannot be opened, another publisher has it\n"
    "for example; 3 not enough subscribers in time.\n";

typedef struct
{
  const char *channel;
  bool is_path, quiet;
  uint64_t width, height, fps, frames, slots, wait, timeout;
  CuframesOverflow overflow;
} Options;

typedef struct
{
  Options options;
  CuframesPublisher *publisher;
  CuframesRing *ring;
  uint64_t stride_bytes, chroma_offset_bytes, size_bytes;
  uint64_t source;
  uint64_t frames, dropped;
} Pattern;

static volatile sig_atomic_t interrupted;

static void
on_signal (int number)
{
  interrupted = number;
}

static uint64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t) now.tv_sec * SECOND + (uint64_t) now.tv_nsec;
}

static void
sleep_until (uint64_t when_ns)
{
  struct timespec when = {.tv_sec = (time_t) (when_ns / SECOND),.tv_nsec = (long) (when_ns % SECOND) };

  while (clock_nanosleep (CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR && !interrupted)
    continue;
}

/* Every picture is the one before it, a line further up. */
static void
draw (const Pattern * self, uint8_t * picture, uint64_t number)
{
  StampImage image = {.plane_count = 2 };
  Stamp stamp = {.number = number,.source = self->source,.time_ns = now_ns () };
  uint32_t width = (uint32_t) self->options.width, height = (uint32_t) self->options.height;

  for (uint32_t line = 0; line < height; line++)
    memset (picture + line * self->stride_bytes, (int) (16 + (line + number) % 220), width);
  memset (picture + self->chroma_offset_bytes, 128, self->size_bytes - self->chroma_offset_bytes);
  image.planes[0] = (StampPlane) { picture, (ptrdiff_t) self->stride_bytes, width, height };
  image.planes[1] = (StampPlane) { picture + self->chroma_offset_bytes, (ptrdiff_t) self->stride_bytes, width, height / 2 };
  stamp_write (&image, &stamp);
}

static void
describe (const Pattern * self, uint64_t number, uint64_t moment_ns, CuframesFrameInfo * info)
{
  uint64_t duration_ns = self->options.fps != 0 ? SECOND / self->options.fps : CUFRAMES_NONE;

  *info = (CuframesFrameInfo) {
    .moment_ns = moment_ns,
    .pts_ns = self->options.fps != 0 ? (number - 1) * SECOND / self->options.fps : CUFRAMES_NONE,
    .dts_ns = CUFRAMES_NONE,
    .duration_ns = duration_ns,
    .offset = number - 1,
    .offset_end = number,
    .size_bytes = self->size_bytes,
    .plane_offset_bytes = {0, self->chroma_offset_bytes},
    .plane_stride_bytes = {(int32_t) self->stride_bytes, (int32_t) self->stride_bytes},
    .plane_count = 2,
    .format = FORMAT_NV12,
    .width = (uint32_t) self->options.width,
    .height = (uint32_t) self->options.height,
  };
}

/* Waits for room only under the policy "wait": otherwise a full ring costs this frame and no time. */
static int
publish_one (Pattern * self, uint64_t number)
{
  CuframesFrameInfo info;
  uint32_t slot;
  int r = cuframes_ring_claim (self->ring, SECOND, &slot);

  if (r != 0)
    return r;
  draw (self, (uint8_t *) (uintptr_t) cuframes_ring_get_slot_address (self->ring, slot), number);
  describe (self, number, now_ns (), &info);
  r = cuframes_publisher_publish (self->publisher, self->ring, slot, &info, NULL);
  cuframes_ring_release (self->ring, slot);
  return r;
}

static int
start_ring (Pattern * self)
{
  char format[256];
  CuframesRingConfig config = {.slot_count = (uint32_t) self->options.slots + RESERVE,.reserve_count = RESERVE,
    .fence_offset_bytes = CUFRAMES_NONE,.format = format
  };
  CuframesArena *arena = NULL;
  int r;

  self->stride_bytes = (self->options.width + ROW_ALIGNMENT - 1) / ROW_ALIGNMENT * ROW_ALIGNMENT;
  self->chroma_offset_bytes = self->stride_bytes * self->options.height;
  self->size_bytes = self->chroma_offset_bytes / 2 * 3;
  config.slot_bytes = (self->size_bytes + 4095) / 4096 * 4096;
  config.format_bytes = (uint32_t) snprintf (format, sizeof format,
      "video/x-raw, format=(string)NV12, width=(int)%" PRIu64 ", height=(int)%" PRIu64 ", framerate=(fraction)%" PRIu64 "/1",
      self->options.width, self->options.height, self->options.fps) + 1;
  r = cuframes_arena_new_host (config.slot_bytes * config.slot_count, &arena);
  if (r != 0)
    return r;
  config.arena = arena;
  r = cuframes_publisher_start_ring (self->publisher, &config, &self->ring);
  cuframes_arena_unref (arena);
  return r;
}

static void
say (const Pattern * self, const char *what)
{
  if (!self->options.quiet) {
    printf ("%s\n", what);
    fflush (stdout);
  }
}

/* In steps of a second, so that a signal ends it. */
static int
await_subscribers (Pattern * self)
{
  int r = CUFRAMES_E_TIMEOUT;

  if (self->options.wait == 0)
    return EXIT_DONE;
  say (self, "waiting for subscribers");
  for (uint64_t i = 0; i < self->options.timeout && r == CUFRAMES_E_TIMEOUT && !interrupted; i++)
    r = cuframes_publisher_wait_subscribers (self->publisher, (uint32_t) self->options.wait, SECOND);
  if (r == CUFRAMES_E_TIMEOUT && !interrupted)
    fprintf (stderr, "%s: not enough subscribers in time\n", self->options.channel);
  return r == CUFRAMES_E_TIMEOUT ? EXIT_NO_SUBSCRIBER : EXIT_DONE;
}

static void
run (Pattern * self)
{
  uint64_t period_ns = self->options.fps != 0 ? SECOND / self->options.fps : 0;
  uint64_t next_ns = now_ns ();

  for (uint64_t number = 1; !interrupted && (self->options.frames == 0 || number <= self->options.frames); number++) {
    if (publish_one (self, number) == 0)
      self->frames++;
    else
      self->dropped++;
    next_ns += period_ns;
    if (period_ns != 0)
      sleep_until (next_ns);
  }
  cuframes_publisher_send_event (self->publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0);
}

static bool
parse_number (const char *text, uint64_t least, uint64_t most, uint64_t * ret_number)
{
  char *end;
  uint64_t number = strtoull (text, &end, 10);

  if (*text < '0' || *text > '9' || *end != '\0' || number < least || number > most)
    return false;
  *ret_number = number;
  return true;
}

static bool
parse_size (const char *text, Options * options)
{
  char width[16];
  const char *x = strchr (text, 'x');

  if (x == NULL || (size_t) (x - text) >= sizeof width)
    return false;
  memcpy (width, text, (size_t) (x - text));
  width[x - text] = '\0';
  return parse_number (width, 64, 16384, &options->width) && parse_number (x + 1, 16, 16384, &options->height)
      && options->width % 2 == 0 && options->height % 2 == 0;
}

static bool
parse_overflow (const char *text, Options * options)
{
  static const char *const names[] = { "drop", "wait", "evict" };

  for (unsigned i = 0; i < 3; i++)
    if (strcmp (text, names[i]) == 0) {
      options->overflow = (CuframesOverflow) i;
      return true;
    }
  return false;
}

static bool
parse_option (int c, Options * options)
{
  switch (c) {
    case 'p':
      return options->is_path = true;
    case 'q':
      return options->quiet = true;
    case 'z':
      return parse_size (optarg, options);
    case 'f':
      return parse_number (optarg, 0, 10000, &options->fps);
    case 'n':
      return parse_number (optarg, 1, UINT64_MAX, &options->frames);
    case 'k':
      return parse_number (optarg, CUFRAMES_SLOTS_MIN, CUFRAMES_SLOTS_MAX - RESERVE, &options->slots);
    case 'w':
      return parse_number (optarg, 0, CUFRAMES_SUBSCRIBERS_MAX, &options->wait);
    case 't':
      return parse_number (optarg, 0, UINT32_MAX, &options->timeout);
    case 'o':
      return parse_overflow (optarg, options);
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
    {"path", no_argument, NULL, 'p'}, {"size", required_argument, NULL, 'z'}, {"fps", required_argument, NULL, 'f'},
    {"frames", required_argument, NULL, 'n'}, {"slots", required_argument, NULL, 'k'}, {"wait", required_argument, NULL, 'w'},
    {"timeout", required_argument, NULL, 't'}, {"overflow", required_argument, NULL, 'o'}, {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}
  };
  bool good = true;

  *options = (Options) {.width = 1280,.height = 720,.fps = 30,.slots = 16,.timeout = 10 };
  for (int c = getopt_long (argc, argv, "pqz:f:n:k:w:t:o:h", longs, NULL); c != -1; c = getopt_long (argc, argv, "pqz:f:n:k:w:t:o:h", longs, NULL))
    good &= parse_option (c, options);
  options->channel = optind + 1 == argc ? argv[optind] : NULL;
  return good && options->channel != NULL;
}

static int
open_channel (Pattern * self)
{
  CuframesPublisherConfig config = {.socket_path = self->options.channel,.overflow = self->options.overflow,
    .overflow_timeout_ns = SECOND
  };
  char path[256];
  int r = self->options.is_path ? 0 : cuframes_channel_path (self->options.channel, path, sizeof path);

  if (r == 0) {
    if (!self->options.is_path)
      config.socket_path = path;
    r = cuframes_publisher_new (&config, &self->publisher);
  }
  if (r == 0)
    return EXIT_DONE;
  if (r == -EADDRINUSE)
    fprintf (stderr, "%s: another publisher has this channel\n", self->options.channel);
  else
    fprintf (stderr, "%s: %s\n", self->options.channel, strerror (-r));
  return EXIT_NO_CHANNEL;
}

int
main (int argc, char **argv)
{
  Pattern self = {.source = now_ns () };
  struct sigaction action = {.sa_handler = on_signal };
  int status, r;

  if (!parse_options (argc, argv, &self.options)) {
    fputs (help, stderr);
    return EXIT_USAGE;
  }
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  status = open_channel (&self);
  if (status != EXIT_DONE)
    return status;
  r = start_ring (&self);
  if (r != 0) {
    fprintf (stderr, "%s: no ring: %s\n", self.options.channel, strerror (r < 0 ? -r : EIO));
    status = EXIT_USAGE;
  } else {
    say (&self, "publishing");
    status = await_subscribers (&self);
  }
  if (status == EXIT_DONE)
    run (&self);
  printf ("%" PRIu64 " frames published, %" PRIu64 " dropped\n", self.frames, self.dropped);
  cuframes_ring_unref (self.ring);
  cuframes_publisher_free (self.publisher);
  return status;
}
