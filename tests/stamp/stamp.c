/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes and checks frame numbers in pictures. Knows bytes and lines, no formats and no transport. */
#include "stamp.h"

#include <string.h>

#define STAMP_MAGIC UINT64_C (0x504d415453667563)       /* "cufSTAMP" */
/* Places are numbered so that no two marks of one frame are alike: a line copied to another place is noticed too. */
#define STAMP_PLACE_END UINT64_C (0x8000000000000000)
#define STAMP_PLACE_HEADER UINT64_C (0x4000000000000000)

static uint64_t
mix (uint64_t value)
{
  value += UINT64_C (0x9e3779b97f4a7c15);
  value = (value ^ (value >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * UINT64_C (0x94d049bb133111eb);
  return value ^ (value >> 31);
}

static uint64_t
mark (const Stamp * stamp, uint64_t place)
{
  return mix (mix (stamp->number ^ mix (stamp->source)) ^ place);
}

static uint64_t
place_of (uint32_t plane, uint32_t line)
{
  return (uint64_t) plane << 32 | line;
}

static uint32_t
marked_line (const StampPlane * plane, uint32_t i)
{
  return (uint32_t) ((uint64_t) i * (plane->lines - 1) / (STAMP_LINES_PER_PLANE - 1));
}

static uint8_t *
line_of (const StampPlane * plane, uint32_t line)
{
  return plane->data + (ptrdiff_t) line * plane->stride_bytes;
}

static bool
fits (const StampImage * image)
{
  if (image->plane_count < 1 || image->plane_count > STAMP_PLANES_MAX)
    return false;
  for (uint32_t p = 0; p < image->plane_count; p++) {
    const StampPlane *plane = &image->planes[p];
    uint32_t least = p == 0 ? STAMP_HEADER_BYTES + STAMP_MARK_BYTES : 2 * STAMP_MARK_BYTES;
    if (plane->lines < 2 || plane->line_bytes < least)
      return false;
  }
  return true;
}

static void
write_mark (uint8_t * at, uint64_t value)
{
  memcpy (at, &value, sizeof value);
}

static bool
mark_is (const uint8_t * at, uint64_t value)
{
  return memcmp (at, &value, sizeof value) == 0;
}

void
stamp_make_header (const Stamp * stamp, uint8_t bytes[STAMP_HEADER_BYTES])
{
  uint64_t words[STAMP_HEADER_BYTES / sizeof (uint64_t)] = {
    STAMP_MAGIC, stamp->number, stamp->source, stamp->time_ns, mark (stamp, STAMP_PLACE_HEADER) ^ mix (stamp->time_ns)
  };
  memcpy (bytes, words, sizeof words);
}

static StampState
parse_header (const uint8_t bytes[STAMP_HEADER_BYTES], Stamp * ret_stamp)
{
  uint64_t words[STAMP_HEADER_BYTES / sizeof (uint64_t)];
  memcpy (words, bytes, sizeof words);
  if (words[0] != STAMP_MAGIC)
    return STAMP_ABSENT;
  Stamp stamp = {.number = words[1],.source = words[2],.time_ns = words[3] };
  if (words[4] != (mark (&stamp, STAMP_PLACE_HEADER) ^ mix (stamp.time_ns)))
    return STAMP_TORN;
  *ret_stamp = stamp;
  return STAMP_WHOLE;
}

void
stamp_make_last_mark (const Stamp * stamp, uint8_t bytes[STAMP_MARK_BYTES])
{
  write_mark (bytes, mark (stamp, STAMP_PLACE_END | place_of (0, 0)));
}

StampState
stamp_parse (const uint8_t header[STAMP_HEADER_BYTES], const uint8_t last_mark[STAMP_MARK_BYTES], Stamp * ret_stamp)
{
  StampState state = parse_header (header, ret_stamp);
  if (state != STAMP_WHOLE)
    return state;
  return mark_is (last_mark, mark (ret_stamp, STAMP_PLACE_END | place_of (0, 0))) ? STAMP_WHOLE : STAMP_TORN;
}

/* The marks of one line: its start but where the header is, and its end on every fourth line and on the last one, which has
 * the same place on every picture so that stamp_parse() need not know the size. */
static void
line_marks (const StampPlane * planes, uint32_t p, uint32_t i, uint64_t * ret_start, uint64_t * ret_end)
{
  uint32_t line = marked_line (&planes[p], i);
  bool last = i == STAMP_LINES_PER_PLANE - 1;
  *ret_start = line == 0 && p == 0 ? 0 : place_of (p, line + 1);
  *ret_end = last ? STAMP_PLACE_END | place_of (p, 0) : i % 4 == 0 ? STAMP_PLACE_END | place_of (p, line + 1) : 0;
}

bool
stamp_write (const StampImage * image, const Stamp * stamp)
{
  if (!fits (image))
    return false;
  for (uint32_t p = 0; p < image->plane_count; p++) {
    const StampPlane *plane = &image->planes[p];
    for (uint32_t i = 0; i < STAMP_LINES_PER_PLANE; i++) {
      uint64_t start, end;
      line_marks (image->planes, p, i, &start, &end);
      uint8_t *line = line_of (plane, marked_line (plane, i));
      if (start != 0)
        write_mark (line, mark (stamp, start));
      if (end != 0)
        write_mark (line + plane->line_bytes - STAMP_MARK_BYTES, mark (stamp, end));
    }
  }
  stamp_make_header (stamp, image->planes[0].data);
  return true;
}

StampState
stamp_read (const StampImage * image, Stamp * ret_stamp)
{
  if (!fits (image))
    return STAMP_ABSENT;
  Stamp stamp;
  StampState state = parse_header (image->planes[0].data, &stamp);
  if (state != STAMP_WHOLE)
    return state;
  for (uint32_t p = 0; p < image->plane_count; p++) {
    const StampPlane *plane = &image->planes[p];
    for (uint32_t i = 0; i < STAMP_LINES_PER_PLANE; i++) {
      uint64_t start, end;
      line_marks (image->planes, p, i, &start, &end);
      const uint8_t *line = line_of (plane, marked_line (plane, i));
      if (start != 0 && !mark_is (line, mark (&stamp, start)))
        return STAMP_TORN;
      if (end != 0 && !mark_is (line + plane->line_bytes - STAMP_MARK_BYTES, mark (&stamp, end)))
        return STAMP_TORN;
    }
  }
  *ret_stamp = stamp;
  return STAMP_WHOLE;
}

static uint8_t
fill_byte (const Stamp * stamp, uint32_t plane, uint32_t line)
{
  return (uint8_t) (mark (stamp, place_of (plane, line)) >> 24);
}

bool
stamp_fill (const StampImage * image, const Stamp * stamp)
{
  if (!fits (image))
    return false;
  for (uint32_t p = 0; p < image->plane_count; p++)
    for (uint32_t line = 0; line < image->planes[p].lines; line++)
      memset (line_of (&image->planes[p], line), fill_byte (stamp, p, line), image->planes[p].line_bytes);
  return stamp_write (image, stamp);
}

/* True if all bytes but those that may hold marks are the line's own. */
static bool
line_is_filled (const StampPlane * plane, uint32_t p, uint32_t line, uint8_t byte)
{
  uint32_t from = p == 0 && line == 0 ? STAMP_HEADER_BYTES : STAMP_MARK_BYTES;
  uint32_t to = plane->line_bytes - STAMP_MARK_BYTES;
  const uint8_t *bytes = line_of (plane, line);
  return from >= to || (bytes[from] == byte && memcmp (bytes + from, bytes + from + 1, to - from - 1) == 0);
}

StampState
stamp_read_filled (const StampImage * image, Stamp * ret_stamp)
{
  Stamp stamp;
  StampState state = stamp_read (image, &stamp);
  if (state != STAMP_WHOLE)
    return state;
  for (uint32_t p = 0; p < image->plane_count; p++)
    for (uint32_t line = 0; line < image->planes[p].lines; line++)
      if (!line_is_filled (&image->planes[p], p, line, fill_byte (&stamp, p, line)))
        return STAMP_TORN;
  *ret_stamp = stamp;
  return STAMP_WHOLE;
}

static void
remember (StampTracker * tracker, uint64_t number)
{
  tracker->seen[number % STAMP_WINDOW / 64] |= UINT64_C (1) << number % 64;
}

static bool
was_seen (const StampTracker * tracker, uint64_t number)
{
  return tracker->seen[number % STAMP_WINDOW / 64] >> number % 64 & 1;
}

static void
start (StampTracker * tracker, const Stamp * stamp)
{
  memset (tracker->seen, 0, sizeof tracker->seen);
  tracker->source = stamp->source;
  tracker->last = stamp->number;
  remember (tracker, stamp->number);
}

static StampOrder
go_back (StampTracker * tracker, uint64_t number)
{
  if (number == tracker->last) {
    tracker->repeated++;
    return STAMP_REPEATED;
  }
  if (tracker->last - number >= STAMP_WINDOW || was_seen (tracker, number)) {
    tracker->stale++;
    return STAMP_STALE;
  }
  remember (tracker, number);
  tracker->reordered++;
  if (tracker->missed > 0)
    tracker->missed--;
  return STAMP_REORDERED;
}

static StampOrder
go_on (StampTracker * tracker, uint64_t number)
{
  uint64_t step = number - tracker->last;
  if (step >= STAMP_WINDOW)
    memset (tracker->seen, 0, sizeof tracker->seen);
  else
    for (uint64_t n = tracker->last + 1; n != number; n++)
      tracker->seen[n % STAMP_WINDOW / 64] &= ~(UINT64_C (1) << n % 64);
  remember (tracker, number);
  tracker->missed += step - 1;
  tracker->last = number;
  return step == 1 ? STAMP_NEXT : STAMP_GAP;
}

StampOrder
stamp_track (StampTracker * tracker, const Stamp * stamp)
{
  if (tracker->frames++ == 0) {
    start (tracker, stamp);
    return STAMP_FIRST;
  }
  if (stamp->source != tracker->source) {
    start (tracker, stamp);
    tracker->restarts++;
    return STAMP_RESTARTED;
  }
  return stamp->number <= tracker->last ? go_back (tracker, stamp->number) : go_on (tracker, stamp->number);
}

void
stamp_count (StampTracker * tracker, StampState state, const Stamp * stamp)
{
  switch (state) {
    case STAMP_WHOLE:
      stamp_track (tracker, stamp);
      break;
    case STAMP_TORN:
      tracker->torn++;
      break;
    case STAMP_ABSENT:
      tracker->absent++;
      break;
  }
}

uint64_t
stamp_errors (const StampTracker * tracker)
{
  return tracker->torn + tracker->absent + tracker->repeated + tracker->stale + tracker->reordered;
}
