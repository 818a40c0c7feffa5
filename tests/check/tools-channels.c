/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many channels at once, for the tests of the programs: "COUNT FPS" in the directory of the environment, every other one of packets, until standard
 * input ends. Then says "FRAMES DROPS" of all of them. */
#include <poll.h>
#include <stdlib.h>

#include "core-fixture.h"

#define CHANNELS_MAX 200
#define PACKET_BYTES 10000u

static Source sources[CHANNELS_MAX];

static bool
has_packets (uint32_t i)
{
  return i % 2 == 1;
}

static int
start (uint32_t i)
{
  if (has_packets (i))
    return source_start_packets (&sources[i], 64, 1u << 20, "not caps");
  return source_start_ring (&sources[i], 4, 1, "not caps");
}

static void
publish (uint32_t i)
{
  if (has_packets (i))
    source_publish_packet (&sources[i], PACKET_BYTES, CUFRAMES_PACKET_KEY);
  else
    source_publish (&sources[i]);
}

static int
open_all (uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) {
    char name[32], path[CUFRAMES_SOCKET_PATH_BYTES];
    snprintf (name, sizeof name, "cam%u", i);
    if (cuframes_channel_path (name, path, sizeof path) != 0 || source_open (&sources[i], path, NULL) != 0
        || start (i) != 0)
      return 1;
  }
  return 0;
}

int
main (int argc, char **argv)
{
  const uint32_t count = argc > 2 ? (uint32_t) atoi (argv[1]) : 0, fps = argc > 2 ? (uint32_t) atoi (argv[2]) : 0;
  struct pollfd input = {.fd = 0,.events = POLLIN };
  uint64_t frames = 0, drops = 0, next_ns = fixture_now_ns ();

  if (count == 0 || count > CHANNELS_MAX || fps == 0 || open_all (count) != 0)
    return 1;
  printf ("open\n");
  fflush (stdout);
  while (poll (&input, 1, fixture_now_ns () < next_ns ? (int) ((next_ns - fixture_now_ns ()) / 1000000) : 0) == 0) {
    for (uint32_t i = 0; i < count; i++)
      publish (i);
    next_ns += 1000000000u / fps;
  }
  for (uint32_t i = 0; i < count; i++) {
    CuframesPublisherStats stats;
    cuframes_publisher_get_stats (sources[i].publisher, &stats);
    frames += stats.frames;
    drops += stats.dropped;
    source_close (&sources[i]);
  }
  printf ("%llu %llu\n", (unsigned long long) frames, (unsigned long long) drops);
  return 0;
}
