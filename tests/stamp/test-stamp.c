/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* That the stamp tells what it is for: torn, repeated, stale, reordered and missing frames. */
#include "stamp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 320u
#define HEIGHT 240u
#define STRIDE 384u
#define BYTES (STRIDE * HEIGHT * 3 / 2)

static int failures;

#define EXPECT(condition) \
  do { \
    if (!(condition)) { \
      printf ("%s:%d: %s does not hold\n", __func__, __LINE__, #condition); \
      failures++; \
    } \
  } while (0)

static StampImage
nv12 (uint8_t *data)
{
  return (StampImage) {.plane_count = 2,.planes = { {data, STRIDE, WIDTH, HEIGHT}, {data + STRIDE * HEIGHT, STRIDE, WIDTH, HEIGHT / 2} } };
}

static void
a_stamp_is_read_as_it_was_written (void)
{
  static uint8_t data[BYTES];
  StampImage image = nv12 (data);
  Stamp stamp = {.number = UINT64_MAX,.source = 7,.time_ns = 42 }, read;

  EXPECT (stamp_read (&image, &read) == STAMP_ABSENT);
  EXPECT (stamp_write (&image, &stamp));
  EXPECT (stamp_read (&image, &read) == STAMP_WHOLE);
  EXPECT (read.number == stamp.number && read.source == 7 && read.time_ns == 42);
}

/* As if a copy had been overtaken, from every line on and with each plane. */
static void
a_frame_of_two_halves_is_torn (void)
{
  static uint8_t older[BYTES], newer[BYTES], mixed[BYTES];
  StampImage a = nv12 (older), b = nv12 (newer), c = nv12 (mixed);
  Stamp read;

  stamp_write (&a, &(Stamp) {.number = 1 });
  stamp_write (&b, &(Stamp) {.number = 2 });
  for (size_t at = STRIDE; at < BYTES - STRIDE; at += STRIDE) {
    memcpy (mixed, newer, at);
    memcpy (mixed + at, older + at, BYTES - at);
    EXPECT (stamp_read (&c, &read) == STAMP_TORN);
  }
  memcpy (mixed, newer, BYTES);
  memcpy (mixed + BYTES - STRIDE + WIDTH - STAMP_MARK_BYTES, older, STAMP_MARK_BYTES);
  EXPECT (stamp_read (&c, &read) == STAMP_TORN);
}

static void
a_filled_frame_shows_one_wrong_byte (void)
{
  static uint8_t data[BYTES];
  StampImage image = nv12 (data);
  Stamp read;

  EXPECT (stamp_fill (&image, &(Stamp) {.number = 5 }));
  EXPECT (stamp_read_filled (&image, &read) == STAMP_WHOLE && read.number == 5);
  data[STRIDE * 101 + 77] ^= 1;
  EXPECT (stamp_read_filled (&image, &read) == STAMP_TORN);
  EXPECT (stamp_read (&image, &read) == STAMP_WHOLE);
}

static void
the_ends_alone_tell_a_torn_frame (void)
{
  uint8_t header[STAMP_HEADER_BYTES], last_mark[STAMP_MARK_BYTES];
  static uint8_t data[BYTES];
  StampImage image = nv12 (data);
  Stamp stamp = {.number = 9,.source = 3 }, read;

  stamp_make_header (&stamp, header);
  stamp_make_last_mark (&stamp, last_mark);
  EXPECT (stamp_parse (header, last_mark, &read) == STAMP_WHOLE && read.number == 9);
  stamp_write (&image, &stamp);
  EXPECT (memcmp (data, header, sizeof header) == 0);
  EXPECT (memcmp (data + STRIDE * (HEIGHT - 1) + WIDTH - STAMP_MARK_BYTES, last_mark, sizeof last_mark) == 0);
  stamp.number = 10;
  stamp_make_last_mark (&stamp, last_mark);
  EXPECT (stamp_parse (header, last_mark, &read) == STAMP_TORN);
}

static void
small_pictures_are_refused_or_whole (void)
{
  static uint8_t data[BYTES];
  Stamp read;

  for (uint32_t lines = 1; lines < 40; lines++) {
    StampImage image = {.plane_count = 1,.planes = { {data, STRIDE, STAMP_HEADER_BYTES + STAMP_MARK_BYTES, lines} } };

    EXPECT (stamp_write (&image, &(Stamp) {.number = lines }) == (lines > 1));
    EXPECT (lines == 1 || stamp_read (&image, &read) == STAMP_WHOLE);
  }
}

static StampOrder
track (StampTracker * tracker, uint64_t source, uint64_t number)
{
  return stamp_track (tracker, &(Stamp) {.number = number,.source = source });
}

static void
the_tracker_tells_what_came_when (void)
{
  StampTracker tracker = { 0 };

  EXPECT (track (&tracker, 1, 10) == STAMP_FIRST);
  EXPECT (track (&tracker, 1, 11) == STAMP_NEXT);
  EXPECT (track (&tracker, 1, 11) == STAMP_REPEATED);
  EXPECT (track (&tracker, 1, 15) == STAMP_GAP);
  EXPECT (tracker.missed == 3);
  EXPECT (track (&tracker, 1, 13) == STAMP_REORDERED);
  EXPECT (tracker.missed == 2);
  EXPECT (track (&tracker, 1, 13) == STAMP_STALE);
  EXPECT (track (&tracker, 1, 10) == STAMP_STALE);
  EXPECT (track (&tracker, 1, 16) == STAMP_NEXT);
  EXPECT (track (&tracker, 1, 16 + 3 * STAMP_WINDOW) == STAMP_GAP);
  EXPECT (track (&tracker, 1, 16) == STAMP_STALE);
  EXPECT (track (&tracker, 2, 1) == STAMP_RESTARTED);
  EXPECT (track (&tracker, 2, 2) == STAMP_NEXT);
  EXPECT (tracker.repeated == 1 && tracker.stale == 3 && tracker.reordered == 1 && tracker.restarts == 1);
  EXPECT (stamp_errors (&tracker) == 5);
}

int
main (void)
{
  a_stamp_is_read_as_it_was_written ();
  a_frame_of_two_halves_is_torn ();
  a_filled_frame_shows_one_wrong_byte ();
  the_ends_alone_tell_a_torn_frame ();
  small_pictures_are_refused_or_whole ();
  the_tracker_tells_what_came_when ();
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
