/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other processes of the tests of libcuframes: a publisher and a subscriber that do what they are told line by line, and a subscriber
 * that runs by itself and tells in the end what it saw. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <signal.h>
#include <unistd.h>

#include "core-fixture.h"

#define HELD_MAX 64

static void
answer (long value)
{
  printf ("%ld\n", value);
}

static bool
has_flag (const char *flags, const char *flag)
{
  return strstr (flags, flag) != NULL;
}

/* A subscriber by orders. */
typedef struct
{
  CuframesSubscriber *subscriber;
  CuframesFrame *held[HELD_MAX];
  unsigned held_count;
  uint64_t newest;
} Puppet;

static long
puppet_connect (Puppet *puppet, const char *channel, const char *flags)
{
  CuframesSubscriberConfig config = {.socket_path = fixture_socket (channel),.lossless = has_flag (flags, "lossless"),
    .start = has_flag (flags, "next") ? CUFRAMES_START_NEXT : has_flag (flags, "oldest") ? CUFRAMES_START_OLDEST : CUFRAMES_START_LATEST,
    .delivery = has_flag (flags, "newest") ? CUFRAMES_DELIVERY_LATEST : CUFRAMES_DELIVERY_FIFO };
  int r = puppet->subscriber != NULL ? 0 : cuframes_subscriber_new (&config, &puppet->subscriber);

  return r != 0 ? r : cuframes_subscriber_connect (puppet->subscriber, FIXTURE_BOUND_NS);
}

/* How many of count frames or packets were taken; one that is not what it should be ends it. */
static long
puppet_take (Puppet *puppet, long count, bool hold)
{
  long taken = 0;

  while (taken < count) {
    CuframesItem item;
    int r = cuframes_subscriber_next (puppet->subscriber, FIXTURE_BOUND_NS, &item);
    if (r != 0)
      return -r;
    if (item.kind == CUFRAMES_ITEM_DISCONNECTED)
      return -100;
    if (item.kind == CUFRAMES_ITEM_PACKET) {
      r = sink_take (puppet->subscriber, &item);
      if (r != 0 && r != -EAGAIN)
        return -200;
      puppet->newest = item.packet_info->sequence;
      taken += r == 0;
    }
    if (item.kind != CUFRAMES_ITEM_FRAME)
      continue;
    if (!frame_is_whole (item.frame))
      return -200;
    puppet->newest = item.info->sequence;
    taken++;
    if (hold)
      puppet->held[puppet->held_count++] = item.frame;
    else
      cuframes_frame_unref (item.frame);
  }
  return taken;
}

static long
puppet_check (const Puppet *puppet)
{
  long whole = 0;

  for (unsigned i = 0; i < puppet->held_count; i++)
    whole += frame_is_whole (puppet->held[i]);
  return whole;
}

static long
puppet_release (Puppet *puppet)
{
  const long count = puppet->held_count;

  while (puppet->held_count > 0)
    cuframes_frame_unref (puppet->held[--puppet->held_count]);
  return count;
}

/* The kind of the next item, 100 more than the reason if it is the end; a frame is released. */
static long
puppet_next (Puppet *puppet)
{
  CuframesItem item;
  int r = cuframes_subscriber_next (puppet->subscriber, FIXTURE_BOUND_NS, &item);

  if (r != 0)
    return -r;
  cuframes_frame_unref (item.frame);
  return item.kind == CUFRAMES_ITEM_DISCONNECTED ? 100 + (long) item.bye : (long) item.kind;
}

/* Everything until the end of the channel; the reason. */
static long
puppet_finish (Puppet *puppet)
{
  long kind;

  do
    kind = puppet_next (puppet);
  while (kind > 0 && kind < 100);
  return kind;
}

static int
play_subscriber (int argc, char **argv)
{
  Puppet puppet = { 0 };
  char line[512], word[32], rest[256], flags[128];

  (void) argc;
  (void) argv;
  while (fgets (line, sizeof line, stdin) != NULL) {
    rest[0] = flags[0] = 0;
    if (sscanf (line, "%31s %255s %127s", word, rest, flags) < 1)
      return 2;
    if (strcmp (word, "connect") == 0)
      answer (puppet_connect (&puppet, rest, flags));
    else if (strcmp (word, "take") == 0 || strcmp (word, "hold") == 0)
      answer (puppet_take (&puppet, atol (rest), word[0] == 'h'));
    else if (strcmp (word, "newest") == 0)
      answer ((long) puppet.newest);
    else if (strcmp (word, "check") == 0)
      answer (puppet_check (&puppet));
    else if (strcmp (word, "release") == 0)
      answer (puppet_release (&puppet));
    else if (strcmp (word, "next") == 0)
      answer (puppet_next (&puppet));
    else if (strcmp (word, "finish") == 0)
      answer (puppet_finish (&puppet));
    else if (strcmp (word, "refused") == 0)
      printf ("%s\n", cuframes_subscriber_get_refusal (puppet.subscriber));
    else if (strcmp (word, "leave") == 0) {
      puppet.subscriber = cuframes_subscriber_free (puppet.subscriber);
      answer (0);
    } else
      return 2;
  }
  puppet_release (&puppet);
  cuframes_subscriber_free (puppet.subscriber);
  return 0;
}

/* A publisher by orders. */
static long
puppet_open (Source *source, const char *channel, const char *flags)
{
  const CuframesPublisherConfig config = {
    .overflow = has_flag (flags, "wait") ? CUFRAMES_OVERFLOW_WAIT : has_flag (flags, "evict") ? CUFRAMES_OVERFLOW_EVICT : CUFRAMES_OVERFLOW_DROP,
    .overflow_timeout_ns = FIXTURE_BOUND_NS,
  };

  return source_open (source, channel, &config);
}

static long
count_subscribers (Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats.subscribers;
}

/* Waits for the next tick of a timer. */
static uint64_t
await_tick (int timer_fd)
{
  uint64_t ticks = 0;

  return read (timer_fd, &ticks, sizeof ticks) == (ssize_t) sizeof ticks ? ticks : 1;
}

static int
make_timer (uint64_t period_ns)
{
  const struct timespec period = { (time_t) (period_ns / 1000000000), (long) (period_ns % 1000000000) };
  const struct itimerspec times = { period, period };
  int fd = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC);

  if (fd < 0 || timerfd_settime (fd, 0, &times, NULL) != 0)
    abort ();
  return fd;
}

/* As a camera does: so many packets a second, whoever is how fast. */
static long
publish_at_rate (Source *source, uint64_t count, uint64_t per_second)
{
  const int timer_fd = make_timer (1000000000 / per_second);
  long published = 0;

  while (count > 0) {
    uint64_t ticks = await_tick (timer_fd);
    for (; ticks > 0 && count > 0; ticks--, count--)
      published += source_publish_stream (source, 1, FIXTURE_GOP, 20000);
  }
  close (timer_fd);
  return published;
}

static int
play_publisher (int argc, char **argv)
{
  Source source = { 0 };
  char line[512], word[32], rest[256], flags[128];

  (void) argc;
  (void) argv;
  while (fgets (line, sizeof line, stdin) != NULL) {
    rest[0] = flags[0] = 0;
    if (sscanf (line, "%31s %255s %127s", word, rest, flags) < 1)
      return 2;
    if (strcmp (word, "open") == 0)
      answer (puppet_open (&source, rest, flags));
    else if (strcmp (word, "ring") == 0)
      answer (source_start_ring (&source, (uint32_t) atol (rest), 1, "format"));
    else if (strcmp (word, "packets") == 0)
      answer (source_start_packets (&source, (uint32_t) atol (rest), (uint64_t) atol (flags), "packets"));
    else if (strcmp (word, "stream") == 0)
      answer (source_publish_stream (&source, (uint64_t) atol (rest), FIXTURE_GOP, (uint64_t) atol (flags)));
    else if (strcmp (word, "pace") == 0)
      answer (publish_at_rate (&source, (uint64_t) atol (rest), (uint64_t) atol (flags)));
    else if (strcmp (word, "publish") == 0)
      answer (source_publish_many (&source, (uint64_t) atol (rest)));
    else if (strcmp (word, "event") == 0)
      answer (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 0, rest, strlen (rest)));
    else if (strcmp (word, "subscribers") == 0)
      answer (count_subscribers (&source));
    else if (strcmp (word, "close") == 0) {
      source_close (&source);
      answer (0);
    } else
      return 2;
  }
  source_close (&source);
  return 0;
}

typedef struct
{
  unsigned fds, mappings;
  uint64_t resident_bytes;
} Room;

/* A subscriber that takes what comes until the channel ends, checks every frame, and tells what it saw. */
typedef struct
{
  uint64_t frames, torn, wrong, missed, last;
  Room room, first_room;        /* the latest, and that after the first frames */
} Run;

/* A slow one reads each frame again and again: the frame may not change under it. */
static void
run_frame (Run *run, const CuframesItem *item, unsigned looks)
{
  const uint64_t expected = run->last + 1 + item->missed;

  for (unsigned i = 0; i < looks; i++)
    if (!frame_is_whole (item->frame)) {
      run->torn++;
      break;
    }
  if (run->frames > 0 && item->info->sequence != expected)
    run->wrong++;
  if (run->frames > 0)
    run->missed += item->missed;
  run->last = item->info->sequence;
  if (++run->frames % 500 == 100)
    run->room = (Room) { fixture_count_fds (), fixture_count_mappings (NULL), fixture_resident_bytes () };
  if (run->frames == 100)
    run->first_room = run->room;
}

/* "frames torn wrong missed descriptors mappings KiB", the last three as they have grown since the first frames. */
static void
tell_run (const Run *run)
{
  printf ("%llu %llu %llu %llu %d %d %d\n", (unsigned long long) run->frames, (unsigned long long) run->torn, (unsigned long long) run->wrong,
      (unsigned long long) run->missed, (int) (run->room.fds - run->first_room.fds), (int) (run->room.mappings - run->first_room.mappings),
      (int) ((int64_t) (run->room.resident_bytes - run->first_room.resident_bytes) / 1024));
}

static int
play_runner (int argc, char **argv)
{
  const char *flags = argc > 1 ? argv[1] : "";
  const unsigned looks = has_flag (flags, "slow") ? 40 : 1;
  CuframesSubscriberConfig config = {.lossless = has_flag (flags, "lossless"),.start = CUFRAMES_START_NEXT,
    .delivery = has_flag (flags, "newest") ? CUFRAMES_DELIVERY_LATEST : CUFRAMES_DELIVERY_FIFO };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Run run = { 0 };

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  subscriber = sink_open (argv[0], &config);
  if (subscriber == NULL)
    return 3;
  do {
    int r = cuframes_subscriber_next (subscriber, 3 * FIXTURE_BOUND_NS, &item);
    if (r != 0)
      return 4;
    if (item.kind == CUFRAMES_ITEM_FORMAT)
      answer (0);
    if (item.kind != CUFRAMES_ITEM_FRAME)
      continue;
    run_frame (&run, &item, looks);
    cuframes_frame_unref (item.frame);
  } while (item.kind != CUFRAMES_ITEM_DISCONNECTED);
  tell_run (&run);
  cuframes_subscriber_free (subscriber);
  return 0;
}

/* A reader of packets that takes what comes until the channel ends, and tells what it saw. */
typedef struct
{
  uint64_t packets, torn, wrong, missed, restarts, astray, lost;
  uint64_t first, last;
} Reading;

/* Numbers must go on where they were, or behind what was missed, and then with a key point. */
static void
read_packet (Reading *reading, CuframesSubscriber *subscriber, const CuframesItem *item)
{
  const CuframesPacketInfo info = *item->packet_info;
  const int r = sink_take (subscriber, item);
  const bool goes_on = reading->packets > 0;

  if (goes_on)
    reading->missed += item->missed;
  reading->restarts += goes_on && item->missed > 0;
  if ((item->missed > 0 || !goes_on) && (info.flags & (CUFRAMES_PACKET_KEY | CUFRAMES_PACKET_HEADER)) == 0)
    reading->astray++;
  reading->lost += r == -EAGAIN;
  reading->torn += r != 0 && r != -EAGAIN;
  if (r != 0)
    return;
  if (!goes_on)
    reading->first = info.sequence;
  else if (info.sequence != reading->first + reading->packets + reading->missed)
    reading->wrong++;
  reading->last = info.sequence;
  reading->packets++;
}

/* "packets torn wrong missed restarts astray lost last": astray are restarts that are no key point, lost were overwritten while they were copied. */
static int
play_packet_reader (int argc, char **argv)
{
  const char *flags = argc > 1 ? argv[1] : "";
  const CuframesSubscriberConfig config = {.start = has_flag (flags, "next") ? CUFRAMES_START_NEXT : has_flag (flags, "oldest") ? CUFRAMES_START_OLDEST
        : CUFRAMES_START_LATEST };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Reading reading = { 0 };

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  subscriber = sink_open (argv[0], &config);
  if (subscriber == NULL)
    return 3;
  do {
    if (cuframes_subscriber_next (subscriber, 3 * FIXTURE_BOUND_NS, &item) != 0)
      return 4;
    if (item.kind == CUFRAMES_ITEM_FORMAT)
      answer (0);
    if (item.kind != CUFRAMES_ITEM_PACKET)
      continue;
    if (has_flag (flags, "slow")) {
      const int timer_fd = make_timer (10000000);
      await_tick (timer_fd);
      close (timer_fd);
    }
    read_packet (&reading, subscriber, &item);
  } while (item.kind != CUFRAMES_ITEM_DISCONNECTED);
  printf ("%llu %llu %llu %llu %llu %llu %llu %llu\n", (unsigned long long) reading.packets, (unsigned long long) reading.torn,
      (unsigned long long) reading.wrong, (unsigned long long) reading.missed, (unsigned long long) reading.restarts,
      (unsigned long long) reading.astray, (unsigned long long) reading.lost, (unsigned long long) reading.last);
  cuframes_subscriber_free (subscriber);
  return 0;
}

const FixtureRole core_roles[] = {
  {"subscriber", play_subscriber},
  {"publisher", play_publisher},
  {"runner", play_runner},
  {"packet-reader", play_packet_reader},
};

const size_t core_role_count = sizeof core_roles / sizeof core_roles[0];
