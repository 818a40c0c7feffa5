/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frame numbers in the pixels: what tests, benchmark and examples write into a frame and look for in it.
 *
 * A header at the start of the first plane names the frame; marks that depend on its number stand at the start of lines
 * spread over every plane, at the end of lines and in each plane's last bytes. A frame of which a part belongs to another frame
 * is torn. A tracker tells from the numbers alone what came twice, late or not at all. Plain C: it knows neither GStreamer
 * nor the project; stamp-video.h is the bridge to GstVideoFrame. */
#ifndef STAMP_H
#define STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAMP_PLANES_MAX 4
/* Lines of each plane that carry a mark. */
#define STAMP_LINES_PER_PLANE 16
#define STAMP_MARK_BYTES 8
#define STAMP_HEADER_BYTES 40
/* Numbers that the tracker remembers, to tell a late frame from one that is shown again. */
#define STAMP_WINDOW 4096

typedef struct
{
  uint8_t *data;
  ptrdiff_t stride_bytes;
  uint32_t line_bytes;          /* bytes of a line that are picture */
  uint32_t lines;
} StampPlane;

typedef struct
{
  uint32_t plane_count;
  StampPlane planes[STAMP_PLANES_MAX];
} StampImage;

typedef struct
{
  uint64_t number;
  uint64_t source;              /* the life of the publisher: another one may begin at 1 again */
  uint64_t time_ns;             /* CLOCK_MONOTONIC when it was stamped */
} Stamp;

typedef enum
{
  STAMP_WHOLE,
  STAMP_ABSENT,                 /* nobody stamped this frame */
  STAMP_TORN,                   /* parts of it belong to another frame */
} StampState;

typedef enum
{
  STAMP_FIRST,
  STAMP_NEXT,
  STAMP_GAP,                    /* numbers are missing before it */
  STAMP_REPEATED,               /* the same number once more */
  STAMP_STALE,                  /* an older number that was there before */
  STAMP_REORDERED,              /* an older number that was not there yet */
  STAMP_RESTARTED,              /* the first frame of another source */
} StampOrder;

typedef struct
{
  uint64_t source;
  uint64_t last;
  uint64_t frames;
  uint64_t missed;
  uint64_t repeated;
  uint64_t stale;
  uint64_t reordered;
  uint64_t restarts;
  uint64_t torn;
  uint64_t absent;
  uint64_t seen[STAMP_WINDOW / 64];
} StampTracker;

/* Stamps the frame; touches no byte but the header and the marks, a few microseconds at any size. False if the picture is too
 * small to carry a header in its first line and a mark in each plane. */
bool stamp_write (const StampImage * image, const Stamp * stamp);
StampState stamp_read (const StampImage * image, Stamp * ret_stamp);

/* The same with every byte of the picture depending on the number, for tests that must see each one. */
bool stamp_fill (const StampImage * image, const Stamp * stamp);
StampState stamp_read_filled (const StampImage * image, Stamp * ret_stamp);

/* For pictures that the CPU cannot reach: the bytes of the header and of the mark in the first plane's last bytes. */
void stamp_make_header (const Stamp * stamp, uint8_t bytes[STAMP_HEADER_BYTES]);
void stamp_make_last_mark (const Stamp * stamp, uint8_t bytes[STAMP_MARK_BYTES]);
StampState stamp_parse (const uint8_t header[STAMP_HEADER_BYTES], const uint8_t last_mark[STAMP_MARK_BYTES], Stamp * ret_stamp);

/* Counts one frame; set the tracker to zeros first. */
StampOrder stamp_track (StampTracker * tracker, const Stamp * stamp);
/* The same by state: absent and torn frames are counted as such and say nothing about order. */
void stamp_count (StampTracker * tracker, StampState state, const Stamp * stamp);
/* Frames that must not be: torn, absent, repeated, stale or reordered. */
uint64_t stamp_errors (const StampTracker * tracker);

#endif
