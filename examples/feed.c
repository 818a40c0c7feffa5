/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Feeds a channel from an application, with libcuframes alone: takes memory, fills it, publishes it. The frames come from standard input, raw
 * and one behind the other, and are read straight into the memory that the subscribers see:
 *
 *   ffmpeg -re -i video.mp4 -f rawvideo -pix_fmt nv12 - | feed --size=1280x720 cam1
 *
 * To feed a channel with pictures of your own, put what makes them where fill() is. Build it with
 *
 *   cc feed.c -o feed $(pkg-config --cflags --libs cuframes-1.0)
 */
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

#define SECOND UINT64_C (1000000000)
/* Slots that subscribers can see or hold, and those that are written meanwhile: this program writes one frame at a time. */
#define SLOTS 16
#define RESERVE 1

enum
{
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
  EXIT_NO_CHANNEL = 3,
};

static const char help[] =
    "Usage: feed --size=WIDTHxHEIGHT [OPTION...] CHANNEL\n"
    "Publishes the raw frames that come on standard input.\n\n"
    "  -s, --size=WxH       size of the frames, even numbers\n"
    "  -f, --format=FORMAT  NV12 (default), I420, GRAY8, BGR or RGB; lines without padding\n"
    "  -r, --fps=N          frames per second, for those who look; the input sets the pace (30)\n"
    "  -h, --help           print this\n\n"
    "Exit status: 0 the input ended, or SIGINT or SIGTERM came; 1 it failed; 2 wrong options; 3 the channel cannot be opened.\n";

/* A pixel format as GStreamer names and numbers it: what each plane's lines and their number are in terms of the picture's. */
typedef struct
{
  const char *name;
  uint32_t number;
  uint32_t plane_count;
  struct
  {
    uint32_t samples;           /* bytes of a line for two pixels of width */
    uint32_t lines;             /* for two lines of height */
  } planes[3];
} Format;

static const Format formats[] = {
  {"NV12", 23, 2, {{2, 2}, {2, 1}}},
  {"I420", 2, 3, {{2, 2}, {1, 1}, {1, 1}}},
  {"GRAY8", 25, 1, {{2, 2}}},
  {"BGR", 16, 1, {{6, 2}}},
  {"RGB", 15, 1, {{6, 2}}},
};

typedef struct
{
  const char *channel;
  const Format *format;
  uint32_t width, height, fps;
  CuframesPublisher *publisher;
  CuframesRing *ring;
  CuframesFrameInfo info;       /* what all frames have in common */
  uint64_t frames, dropped;
} Feed;

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

/* Where the planes lie: one behind the other, lines too. Another layout will do as well, as long as it is said here. */
static void
describe (Feed * self)
{
  CuframesFrameInfo *info = &self->info;

  *info = (CuframesFrameInfo) {
    .pts_ns = CUFRAMES_NONE,
    .dts_ns = CUFRAMES_NONE,
    .duration_ns = SECOND / self->fps,
    .offset = CUFRAMES_NONE,
    .offset_end = CUFRAMES_NONE,
    .plane_count = self->format->plane_count,
    .format = self->format->number,
    .width = self->width,
    .height = self->height,
  };
  for (uint32_t i = 0; i < info->plane_count; i++) {
    info->plane_offset_bytes[i] = info->size_bytes;
    info->plane_stride_bytes[i] = (int32_t) (self->width / 2 * self->format->planes[i].samples);
    info->size_bytes += (uint64_t) info->plane_stride_bytes[i] * (self->height / 2 * self->format->planes[i].lines);
  }
}

/* The memory: one block for all slots, a page being the least distance between two. Subscribers map it when they join. */
static int
start_ring (Feed * self)
{
  char caps[256];
  CuframesRingConfig config = {.slot_count = SLOTS + RESERVE,.reserve_count = RESERVE,.fence_offset_bytes = CUFRAMES_NONE,.format = caps };
  CuframesArena *arena;
  int r;

  config.slot_bytes = (self->info.size_bytes + 4095) / 4096 * 4096;
  config.format_bytes = (uint32_t) snprintf (caps, sizeof caps,
      "video/x-raw, format=(string)%s, width=(int)%" PRIu32 ", height=(int)%" PRIu32 ", framerate=(fraction)%" PRIu32 "/1",
      self->format->name, self->width, self->height, self->fps) + 1;
  r = cuframes_arena_new_host (config.slot_bytes * config.slot_count, &arena);
  if (r != 0)
    return r;
  config.arena = arena;
  r = cuframes_publisher_start_ring (self->publisher, &config, &self->ring);
  cuframes_arena_unref (arena);
  return r;
}

static int
open_channel (Feed * self)
{
  char path[CUFRAMES_SOCKET_PATH_BYTES];
  CuframesPublisherConfig config = {.socket_path = path };
  int r = cuframes_channel_path (self->channel, path, sizeof path);

  return r != 0 ? r : cuframes_publisher_new (&config, &self->publisher);
}

/* One frame from standard input: its size, 0 at the end, less where the input ends within a frame, or a negative errno. */
static ssize_t
fill (uint8_t * memory, size_t size)
{
  size_t done = 0;

  while (done < size && !interrupted) {
    ssize_t n = read (STDIN_FILENO, memory + done, size - done);
    if (n == 0)
      break;
    if (n < 0 && errno != EINTR)
      return -errno;
    done += n > 0 ? (size_t) n : 0;
  }
  return (ssize_t) done;
}

/* Takes a slot, fills it, publishes it. The slot is this program's alone until then, and the subscribers' afterwards: whoever holds the frame
 * keeps it from being written again. A full ring costs the new frame; nobody is waited for. */
static ssize_t
feed_one (Feed * self)
{
  uint32_t slot;
  ssize_t size;
  int r = cuframes_ring_claim (self->ring, SECOND, &slot);

  if (r != 0)
    return r < 0 ? r : -EAGAIN;
  size = fill ((uint8_t *) (uintptr_t) cuframes_ring_get_slot_address (self->ring, slot), self->info.size_bytes);
  if (size == (ssize_t) self->info.size_bytes) {
    self->info.moment_ns = now_ns ();
    r = cuframes_publisher_publish (self->publisher, self->ring, slot, &self->info, NULL);
    self->frames += r == 0;
    self->dropped += r == CUFRAMES_E_FULL;
  }
  cuframes_ring_release (self->ring, slot);
  return r < 0 ? r : size;
}

static int
run (Feed * self)
{
  ssize_t size;

  do
    size = feed_one (self);
  while (size == (ssize_t) self->info.size_bytes && !interrupted);
  cuframes_publisher_send_event (self->publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0);
  if (size < 0)
    fprintf (stderr, "feed: %s: %s\n", self->channel, strerror ((int) -size));
  else if (size > 0 && !interrupted)
    fprintf (stderr, "feed: the input ends within a frame: %zd bytes of %" PRIu64 "\n", size, self->info.size_bytes);
  return interrupted || size == 0 ? EXIT_DONE : EXIT_FAILED;
}

static bool
parse_option (int c, Feed * self)
{
  char rest;

  switch (c) {
    case 's':
      return sscanf (optarg, "%" SCNu32 "x%" SCNu32 "%c", &self->width, &self->height, &rest) == 2 && self->width % 2 == 0
          && self->height % 2 == 0 && self->width - 1 < 16384 && self->height - 1 < 16384;
    case 'r':
      return sscanf (optarg, "%" SCNu32 "%c", &self->fps, &rest) == 1 && self->fps - 1 < 10000;
    case 'f':
      for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp (optarg, formats[i].name) == 0) {
          self->format = &formats[i];
          return true;
        }
      return false;
    case 'h':
      fputs (help, stdout);
      exit (EXIT_DONE);
    default:
      return false;
  }
}

static bool
parse_options (int argc, char **argv, Feed * self)
{
  static const struct option longs[] = {
    {"size", required_argument, NULL, 's'}, {"format", required_argument, NULL, 'f'}, {"fps", required_argument, NULL, 'r'},
    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}
  };
  bool good = true;

  for (int c = getopt_long (argc, argv, "s:f:r:h", longs, NULL); c != -1; c = getopt_long (argc, argv, "s:f:r:h", longs, NULL))
    good &= parse_option (c, self);
  self->channel = optind + 1 == argc ? argv[optind] : NULL;
  return good && self->channel != NULL && self->width != 0;
}

int
main (int argc, char **argv)
{
  Feed self = {.format = &formats[0],.fps = 30 };
  struct sigaction action = {.sa_handler = on_signal };
  int r, status = EXIT_FAILED;

  if (!parse_options (argc, argv, &self)) {
    fputs (help, stderr);
    return EXIT_USAGE;
  }
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  describe (&self);
  r = open_channel (&self);
  if (r != 0) {
    fprintf (stderr, "feed: %s: %s\n", self.channel, r == -EADDRINUSE ? "another publisher has this channel" : strerror (-r));
    return EXIT_NO_CHANNEL;
  }
  r = start_ring (&self);
  if (r != 0)
    fprintf (stderr, "feed: no memory for the frames: %s\n", strerror (r < 0 ? -r : EIO));
  else
    status = run (&self);
  fprintf (stderr, "feed: %" PRIu64 " frames published, %" PRIu64 " dropped\n", self.frames, self.dropped);
  cuframes_ring_unref (self.ring);
  cuframes_publisher_free (self.publisher);
  return status;
}
