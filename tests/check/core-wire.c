/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages as bytes: what is sound goes both ways, and nothing else gets through or is read past its end. */
#include <errno.h>
#include <stdlib.h>

#include "core-fixture.h"
#include "cuframes-wire.h"

#define MESSAGES_MAX 16

typedef struct
{
  CuframesMessage message;
  uint32_t fd_count;
} Example;

static const uint8_t event_bytes[100] = { 1, 2, 3, 250 };
static const CuframesSubscriberStats two_subscribers[2] = {
  {.id = 7,.pid = 70,.uid = 1000,.leases_held = 3,.delivered = 12,.missed = 1,.copied = 2,.wakeups = 9,.lag_frames = 4,.attached_ns = 55,.name = "viewer"},
  {.id = 8,.observer = 1,.lingering = 1,.delivered = UINT64_MAX,.name = "0123456789012345678901234567890"},
};

static uint32_t
make_examples (Example *examples)
{
  uint32_t count = 0;

  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_HELLO,.hello = {.version_min = 1,.version_max = 3,.role = 1,.memory_kinds = 6,
          .device_count = 2,.devices = { {1, 2}, {3, 4} },.name = "test" }}, 0 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_WELCOME,.welcome = {.version = 1,.subscriber_id = 5,.ring_id = UINT64_MAX,
          .max_leases = 4,.event_serial = 9,.sticky_count = 3,.head = 1ull << 56 }}, 2 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_REFUSED,.refused = {.code = 2,.text = "no room"}}, 0 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_RING,.ring = {.ring_id = 1,.generation = 2,.kind = 1,.first_sequence = 3,.slot_count = 4,
          .slot_bytes = 5,.data_offset_bytes = 6,.meta_stride_bytes = 7,.control_bytes = 8,.fence_offset_bytes = CUFRAMES_NONE,
          .arena = {.kind = CUFRAMES_MEMORY_CUDA,.size_bytes = 10,.device_uuid = {11}},.format = "video/x-raw",.format_bytes = 11 }}, 3 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_READY,.ready_generation = 77}, 0 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_EVENT,.event = {.serial = 1,.after_sequence = 2,.kind = 3,.byte_count = sizeof event_bytes,
          .bytes = event_bytes }}, 0 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_EVENT,.event = {.serial = 1,.kind = 3,.byte_count = CUFRAMES_EVENT_BYTES_MAX}}, 1 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_EVENT,.event = {.serial = 4,.kind = 1 }}, 0 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_KEYFRAME,.keyframe_all_headers = 1}, 0 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_ASK_STATS}, 0 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_STATS,.stats = {.publisher = {.ring_id = 1,.generation = 2,.frames = 3,.last_publish_ns = 4},
          .count = 2,.subscribers = two_subscribers,.format = "video/x-raw",.format_bytes = 11 }}, 0 };
  examples[count++] = (Example) { {.type = CUFRAMES_MESSAGE_BYE,.bye_reason = CUFRAMES_BYE_STALLED}, 0 };
  return count;
}

/* Decodes from a piece of memory of just that size, so that a sanitizer sees one byte too many. */
static int
decode (const uint8_t *bytes, size_t byte_count, uint32_t fd_count, CuframesMessage *ret_message, uint8_t **ret_copy)
{
  uint8_t *copy = malloc (byte_count == 0 ? 1 : byte_count);
  int r;

  memcpy (copy, bytes, byte_count);
  r = cuframes_wire_decode (copy, byte_count, fd_count, ret_message);
  if (ret_copy != NULL)
    *ret_copy = copy;
  else
    free (copy);
  return r;
}

static size_t
encode (const Example *example, uint8_t *bytes)
{
  size_t byte_count = 0;

  if (cuframes_wire_encode (&example->message, example->fd_count, bytes, CUFRAMES_WIRE_BYTES_MAX, &byte_count) != 0)
    fixture_fail (__FILE__, __LINE__, __func__, "a message can be encoded");
  return byte_count;
}

static uint8_t buffer[CUFRAMES_WIRE_BYTES_MAX], again[CUFRAMES_WIRE_BYTES_MAX];

/* Encodes what was decoded; the same bytes must come out. */
static bool
comes_back (const Example *example, CuframesMessage *decoded, size_t byte_count)
{
  CuframesSubscriberStats subscribers[2];
  size_t count = 0;

  if (decoded->type == CUFRAMES_MESSAGE_STATS) {
    for (uint32_t i = 0; i < 2; i++)
      cuframes_wire_get_subscriber_stats (&decoded->stats, i, &subscribers[i]);
    decoded->stats.subscribers = subscribers;
  }
  return cuframes_wire_encode (decoded, example->fd_count, again, sizeof again, &count) == 0 && count == byte_count
      && memcmp (buffer, again, count) == 0;
}

static void
every_message_goes_both_ways (void)
{
  Example examples[MESSAGES_MAX];
  const uint32_t count = make_examples (examples);

  for (uint32_t i = 0; i < count; i++) {
    const size_t byte_count = encode (&examples[i], buffer);
    CuframesMessage decoded;
    uint8_t *copy = NULL;
    CHECK_EQUAL (decode (buffer, byte_count, examples[i].fd_count, &decoded, &copy), 0);
    CHECK_EQUAL (decoded.type, examples[i].message.type);
    CHECK (comes_back (&examples[i], &decoded, byte_count));
    free (copy);
  }
}

static void
fields_arrive_as_they_were (void)
{
  Example examples[MESSAGES_MAX];
  CuframesSubscriberStats second;
  CuframesMessage decoded;
  uint8_t *copy = NULL;

  make_examples (examples);
  CHECK_EQUAL (decode (buffer, encode (&examples[3], buffer), 3, &decoded, &copy), 0);
  CHECK (decoded.ring.generation == 2 && decoded.ring.first_sequence == 3 && decoded.ring.control_bytes == 8);
  CHECK (decoded.ring.fence_offset_bytes == CUFRAMES_NONE && decoded.ring.arena.kind == CUFRAMES_MEMORY_CUDA);
  CHECK (decoded.ring.arena.device_uuid[0] == 11 && decoded.ring.format_bytes == 11 && memcmp (decoded.ring.format, "video/x-raw", 11) == 0);
  free (copy);
  CHECK_EQUAL (decode (buffer, encode (&examples[10], buffer), 0, &decoded, &copy), 0);
  CHECK_EQUAL (decoded.stats.count, 2);
  cuframes_wire_get_subscriber_stats (&decoded.stats, 1, &second);
  CHECK (second.id == 8 && second.delivered == UINT64_MAX && second.lingering == 1);
  CHECK_EQUAL (strlen (second.name), CUFRAMES_NAME_BYTES - 1);
  free (copy);
}

static void
every_truncation_is_refused (void)
{
  Example examples[MESSAGES_MAX];
  const uint32_t count = make_examples (examples);
  CuframesMessage decoded;

  for (uint32_t i = 0; i < count; i++) {
    const size_t byte_count = encode (&examples[i], buffer);
    for (size_t cut = 0; cut < byte_count; cut++) {
      const uint32_t body_bytes = cut < CUFRAMES_WIRE_HEADER_BYTES ? 0 : (uint32_t) (cut - CUFRAMES_WIRE_HEADER_BYTES);
      CHECK_EQUAL (decode (buffer, cut, examples[i].fd_count, &decoded, NULL), CUFRAMES_E_PEER);
      /* once more with a length that says so */
      memcpy (again, buffer, byte_count);
      memcpy (again + 8, &body_bytes, sizeof body_bytes);
      CHECK_EQUAL (decode (again, cut, examples[i].fd_count, &decoded, NULL), CUFRAMES_E_PEER);
    }
    buffer[byte_count] = 0;
    CHECK_EQUAL (decode (buffer, byte_count + 1, examples[i].fd_count, &decoded, NULL), CUFRAMES_E_PEER);
  }
}

static void
look_at_all (const CuframesMessage *decoded, uint32_t fd_count)
{
  volatile uint8_t sum = 0;
  CuframesSubscriberStats stats;

  if (decoded->type == CUFRAMES_MESSAGE_RING)
    for (uint32_t i = 0; i < decoded->ring.format_bytes; i++)
      sum ^= ((const uint8_t *) decoded->ring.format)[i];
  if (decoded->type == CUFRAMES_MESSAGE_EVENT && fd_count == 0)
    for (uint32_t i = 0; i < decoded->event.byte_count; i++)
      sum ^= ((const uint8_t *) decoded->event.bytes)[i];
  if (decoded->type == CUFRAMES_MESSAGE_HELLO)
    CHECK (decoded->hello.device_count <= CUFRAMES_WIRE_DEVICES_MAX && strnlen (decoded->hello.name, CUFRAMES_NAME_BYTES) < CUFRAMES_NAME_BYTES);
  if (decoded->type == CUFRAMES_MESSAGE_STATS) {
    for (uint32_t i = 0; i < decoded->stats.count; i++)
      cuframes_wire_get_subscriber_stats (&decoded->stats, i, &stats);
    for (uint32_t i = 0; i < decoded->stats.format_bytes; i++)
      sum ^= ((const uint8_t *) decoded->stats.format)[i];
  }
  (void) sum;
}

static void
every_flipped_byte_does_no_harm (void)
{
  static const uint8_t flips[] = { 0x01, 0x80, 0xff };
  Example examples[MESSAGES_MAX];
  const uint32_t count = make_examples (examples);

  for (uint32_t i = 0; i < count; i++) {
    const size_t byte_count = encode (&examples[i], buffer);
    for (size_t at = 0; at < byte_count; at++)
      for (uint32_t f = 0; f < sizeof flips; f++) {
        CuframesMessage decoded;
        uint8_t *copy = NULL;
        int r;
        buffer[at] ^= flips[f];
        r = decode (buffer, byte_count, examples[i].fd_count, &decoded, &copy);
        CHECK (r == 0 || r == CUFRAMES_E_PEER);
        /* magic, length and count of descriptors are never to be passed over */
        if (at < 4 || (at >= 8 && at < 16))
          CHECK_EQUAL (r, CUFRAMES_E_PEER);
        if (r == 0)
          look_at_all (&decoded, examples[i].fd_count);
        free (copy);
        buffer[at] ^= flips[f];
      }
  }
}

static void
a_wrong_count_of_descriptors_is_refused (void)
{
  Example examples[MESSAGES_MAX];
  const uint32_t count = make_examples (examples);
  CuframesMessage decoded;

  for (uint32_t i = 0; i < count; i++) {
    const size_t byte_count = encode (&examples[i], buffer);
    for (uint32_t fd_count = 0; fd_count <= CUFRAMES_WIRE_FDS_MAX + 1; fd_count++) {
      if (fd_count == examples[i].fd_count)
        continue;
      /* the kernel hands over another count than the header says */
      CHECK_EQUAL (decode (buffer, byte_count, fd_count, &decoded, NULL), CUFRAMES_E_PEER);
      /* both agree on a count that the message never has; an event may have one and then holds no bytes */
      memcpy (again, buffer, byte_count);
      memcpy (again + 12, &fd_count, sizeof fd_count);
      if (examples[i].message.type != CUFRAMES_MESSAGE_EVENT || fd_count > 1 || examples[i].message.event.byte_count > 0)
        CHECK_EQUAL (decode (again, byte_count, fd_count, &decoded, NULL), CUFRAMES_E_PEER);
    }
  }
}

static void
endless_lengths_are_refused (void)
{
  Example examples[MESSAGES_MAX];
  const uint32_t count = make_examples (examples), endless = UINT32_MAX;
  CuframesMessage decoded;

  for (uint32_t i = 0; i < count; i++) {
    const size_t byte_count = encode (&examples[i], buffer);
    memcpy (again, buffer, byte_count);
    memcpy (again + 8, &endless, sizeof endless);
    CHECK_EQUAL (decode (again, byte_count, examples[i].fd_count, &decoded, NULL), CUFRAMES_E_PEER);
    /* every aligned word of the body that could be a length */
    for (size_t at = CUFRAMES_WIRE_HEADER_BYTES; at + 4 <= byte_count; at += 2) {
      uint8_t *copy = NULL;
      int r;
      memcpy (again, buffer, byte_count);
      memcpy (again + at, &endless, sizeof endless);
      r = decode (again, byte_count, examples[i].fd_count, &decoded, &copy);
      CHECK (r == 0 || r == CUFRAMES_E_PEER);
      if (r == 0)
        look_at_all (&decoded, examples[i].fd_count);
      free (copy);
    }
  }
  examples[3].message.ring.format_bytes = CUFRAMES_FORMAT_BYTES_MAX + 1;
  examples[5].message.event.byte_count = CUFRAMES_WIRE_EVENT_INLINE_MAX + 1;
  examples[6].message.event.byte_count = CUFRAMES_EVENT_BYTES_MAX + 1;
  examples[0].message.hello.device_count = CUFRAMES_WIRE_DEVICES_MAX + 1;
  for (uint32_t i = 0; i < 7; i += i == 0 ? 3 : i == 3 ? 2 : 1) {
    size_t byte_count = 0;
    CHECK_EQUAL (cuframes_wire_encode (&examples[i].message, examples[i].fd_count, again, sizeof again, &byte_count), -EMSGSIZE);
  }
}

static void
a_buffer_that_is_too_small_is_not_overrun (void)
{
  Example examples[MESSAGES_MAX];
  const uint32_t count = make_examples (examples);

  for (uint32_t i = 0; i < count; i++) {
    const size_t byte_count = encode (&examples[i], buffer);
    for (size_t capacity = 0; capacity < byte_count; capacity += capacity < 64 ? 1 : 13) {
      uint8_t *small = malloc (capacity + 1);
      size_t used = 0;
      CHECK_EQUAL (cuframes_wire_encode (&examples[i].message, examples[i].fd_count, small, capacity, &used), -EMSGSIZE);
      free (small);
    }
  }
}

static void
only_greetings_of_other_versions_are_read (void)
{
  Example examples[MESSAGES_MAX];
  const uint32_t count = make_examples (examples);
  CuframesMessage decoded;

  for (uint32_t i = 0; i < count; i++) {
    const bool greeting = examples[i].message.type == CUFRAMES_MESSAGE_HELLO || examples[i].message.type == CUFRAMES_MESSAGE_REFUSED;
    size_t byte_count = encode (&examples[i], buffer);
    const uint32_t longer = (uint32_t) (byte_count + 24 - CUFRAMES_WIRE_HEADER_BYTES);
    const uint16_t version = 2;
    memcpy (buffer + 4, &version, sizeof version);
    CHECK_EQUAL (decode (buffer, byte_count, examples[i].fd_count, &decoded, NULL), greeting ? 0 : CUFRAMES_E_PEER);
    /* a later version may say more */
    memset (buffer + byte_count, 0xa5, 24);
    memcpy (buffer + 8, &longer, sizeof longer);
    CHECK_EQUAL (decode (buffer, byte_count + 24, examples[i].fd_count, &decoded, NULL), greeting ? 0 : CUFRAMES_E_PEER);
    if (examples[i].message.type == CUFRAMES_MESSAGE_HELLO)
      CHECK (decoded.hello.version_min == 1 && decoded.hello.version_max == 3);
  }
}

static void
unknown_types_are_refused (void)
{
  CuframesMessage decoded;
  Example examples[MESSAGES_MAX];

  make_examples (examples);
  encode (&examples[9], buffer);
  for (uint32_t type = 0; type < 65536; type++) {
    const uint16_t said = (uint16_t) type;
    memcpy (buffer + 6, &said, sizeof said);
    if (type == 0 || type > CUFRAMES_MESSAGE_BYE)
      CHECK_EQUAL (decode (buffer, CUFRAMES_WIRE_HEADER_BYTES, 0, &decoded, NULL), CUFRAMES_E_PEER);
  }
}

static const FixtureTest tests[] = {
  {"every message goes both ways", every_message_goes_both_ways},
  {"fields arrive as they were", fields_arrive_as_they_were},
  {"every truncation is refused", every_truncation_is_refused},
  {"a flipped byte does no harm wherever it is", every_flipped_byte_does_no_harm},
  {"a wrong count of descriptors is refused", a_wrong_count_of_descriptors_is_refused},
  {"lengths without end are refused on both sides", endless_lengths_are_refused},
  {"a buffer that is too small is not overrun", a_buffer_that_is_too_small_is_not_overrun},
  {"only greetings of other versions are read, and they may say more", only_greetings_of_other_versions_are_read},
  {"unknown types are refused", unknown_types_are_refused},
};

FIXTURE_MAIN (tests, NULL, 0)
