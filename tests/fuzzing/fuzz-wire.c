/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The decoder of messages. The first byte: how many descriptors came with it (low bits), and whether the header is made right for what follows
 * (high bit), so that bodies are reached; the rest is the message. What is taken must lie within the message, and say the same
 * when it is encoded and decoded once more. */
#include "cuframes-wire.h"
#include "fuzz.h"

#define TAKEN_MAX 4096u

static uint8_t encoded[2][CUFRAMES_WIRE_BYTES_MAX];
static CuframesSubscriberStats subscribers[CUFRAMES_SUBSCRIBERS_MAX];

static void
read_all (const void *bytes, uint64_t byte_count)
{
  volatile uint8_t sum = 0;

  for (uint64_t i = 0; i < byte_count; i++)
    sum ^= ((const uint8_t *) bytes)[i];
  (void) sum;
}

static void
use (CuframesMessage *message)
{
  switch (message->type) {
    case CUFRAMES_MESSAGE_HELLO:
      FUZZ_REQUIRE (memchr (message->hello.name, 0, sizeof message->hello.name) != NULL);
      FUZZ_REQUIRE (message->hello.device_count <= CUFRAMES_WIRE_DEVICES_MAX);
      break;
    case CUFRAMES_MESSAGE_REFUSED:
      FUZZ_REQUIRE (memchr (message->refused.text, 0, sizeof message->refused.text) != NULL);
      break;
    case CUFRAMES_MESSAGE_RING:
      read_all (message->ring.format, message->ring.format_bytes);
      break;
    case CUFRAMES_MESSAGE_EVENT:
      if (message->event.bytes != NULL)
        read_all (message->event.bytes, message->event.byte_count);
      break;
    case CUFRAMES_MESSAGE_STATS:
      FUZZ_REQUIRE (message->stats.count <= CUFRAMES_SUBSCRIBERS_MAX);
      for (uint32_t i = 0; i < message->stats.count; i++) {
        cuframes_wire_get_subscriber_stats (&message->stats, i, &subscribers[i]);
        FUZZ_REQUIRE (memchr (subscribers[i].name, 0, sizeof subscribers[i].name) != NULL);
      }
      message->stats.subscribers = subscribers;
      read_all (message->stats.format, message->stats.format_bytes);
      break;
    default:
      break;
  }
}

static void
make_header (uint8_t *bytes, size_t byte_count, uint32_t fd_count)
{
  const uint32_t magic = CUFRAMES_WIRE_MAGIC, body_bytes = (uint32_t) (byte_count - CUFRAMES_WIRE_HEADER_BYTES);
  const uint16_t version = CUFRAMES_WIRE_VERSION;

  memcpy (bytes, &magic, sizeof magic);
  memcpy (bytes + 4, &version, sizeof version);
  memcpy (bytes + 8, &body_bytes, sizeof body_bytes);
  memcpy (bytes + 12, &fd_count, sizeof fd_count);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  FuzzInput input = { data, size };
  const uint8_t first = (uint8_t) fuzz_take (&input, 1);
  const uint32_t fd_count = first & 7;
  CuframesMessage message, again;
  size_t byte_count[2];
  uint8_t *bytes;

  if (input.size > TAKEN_MAX)
    return 0;
  /* a copy of just that size, so that a step beyond its end is seen */
  bytes = malloc (input.size + 1);
  memcpy (bytes, input.bytes, input.size);
  if ((first & 0x80) != 0 && input.size >= CUFRAMES_WIRE_HEADER_BYTES)
    make_header (bytes, input.size, fd_count);
  if (cuframes_wire_decode (bytes, input.size, fd_count, &message) == 0) {
    use (&message);
    FUZZ_REQUIRE (cuframes_wire_encode (&message, fd_count, encoded[0], sizeof encoded[0], &byte_count[0]) == 0);
    FUZZ_REQUIRE (byte_count[0] <= input.size);
    FUZZ_REQUIRE (cuframes_wire_decode (encoded[0], byte_count[0], fd_count, &again) == 0);
    FUZZ_REQUIRE (again.type == message.type);
    use (&again);
    FUZZ_REQUIRE (cuframes_wire_encode (&again, fd_count, encoded[1], sizeof encoded[1], &byte_count[1]) == 0);
    FUZZ_REQUIRE (byte_count[0] == byte_count[1] && memcmp (encoded[0], encoded[1], byte_count[0]) == 0);
  }
  free (bytes);
  return 0;
}
