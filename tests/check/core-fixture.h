/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of libcuframes share besides the fixture: publishers and subscribers whose frames are known by their number, and clients that
 * speak the protocol by hand. */
#ifndef CORE_FIXTURE_H
#define CORE_FIXTURE_H

#include <string.h>

#include "cuframes.h"
#include "fixture.h"

#define FIXTURE_SKIPPED 77
#define FIXTURE_SLOT_BYTES 4096u
/* Packets from one key point to the next. */
#define FIXTURE_GOP 30u

extern const FixturePart core_part;
extern const FixtureRole core_roles[];  /* of core-roles.c */
extern const size_t core_role_count;

#define FIXTURE_MAIN(tests, roles, role_count) \
  int main (int argc, char **argv) { return fixture_main (argc, argv, &core_part, tests, sizeof tests / sizeof tests[0], roles, role_count); }

const char *fixture_socket (const char *channel);

/* A publisher whose frames carry their number in every word. */
typedef struct
{
  CuframesPublisher *publisher;
  CuframesRing *ring;
  uint64_t number;              /* of the newest frame */
  uint64_t slot_bytes;
} Source;

int source_open (Source * source, const char *channel, const CuframesPublisherConfig * config);
int source_start_ring (Source * source, uint32_t slot_count, uint32_t reserve_count, const char *format);
int source_publish (Source * source);
int source_publish_many (Source * source, uint64_t count);
void source_close (Source * source);

/* Packets of which every byte, time stamp and meta says which it is. */
int source_start_packets (Source * source, uint32_t index_size, uint64_t data_bytes, const char *format);
int source_publish_packet (Source * source, uint64_t size_bytes, uint32_t flags);
/* A stream as a camera's: a key point of up to most_bytes every gop packets, small ones in between. How many were published. */
int source_publish_stream (Source * source, uint64_t count, uint32_t gop, uint64_t most_bytes);
uint64_t stream_packet_bytes (uint64_t number, uint32_t gop, uint64_t most_bytes);
bool packet_is_whole (const CuframesPacketInfo * info, const void *data, const void *metas);
/* Streams of small packets with many key points, for tests that look at each packet. */
#define PACKET_GOP 10u
#define PACKET_SMALL_BYTES 1000u
/* A ring of packets on the new channel "cam", with so many packets in it. */
bool source_open_stream (Source * source, const CuframesPublisherConfig * config, uint32_t index_size, uint64_t data_bytes, uint64_t count);
/* KEY and HEADER flags as letters, "." for neither; every packet small. How many were published. */
int source_publish_story (Source * source, const char *story);
/* Connected to "cam" and with the format, which is one of packets. */
CuframesSubscriber *sink_open_packets (const CuframesSubscriberConfig * config);
/* The next packet, whole; its number, or 0. */
uint64_t sink_take_next (CuframesSubscriber * subscriber, uint64_t * ret_missed);
/* Takes the packet of an item. 0, -EAGAIN, or -EBADMSG if it is not what its number says. */
int sink_take (CuframesSubscriber * subscriber, const CuframesItem * item);

/* A subscriber that wants items. */
CuframesSubscriber *sink_open (const char *channel, const CuframesSubscriberConfig * config);
int sink_next (CuframesSubscriber * subscriber, CuframesItem * item);
bool sink_expect (CuframesSubscriber * subscriber, CuframesItemKind kind, CuframesItem * item);
bool frame_is_whole (CuframesFrame * frame);
/* "P" a packet, "F" a frame, "R" a format, "C" connected, "D" the end, "E" the end of the stream, "!" what is torn, else an event's text; waits
 * for as much as is expected, and then for what is not. */
void sink_describe (CuframesSubscriber * subscriber, const char *expected, char *story, size_t story_bytes);
#define CHECK_STORY(subscriber, expected) \
  do { \
    char story_[1024]; \
    sink_describe (subscriber, expected, story_, sizeof story_); \
    if (strcmp (story_, expected) != 0) { \
      fprintf (stderr, "  the story is \"%s\"\n", story_); \
      fprintf (stderr, "  and not \"%s\"\n", expected); \
      fixture_fail (__FILE__, __LINE__, __func__, "the story is as expected"); \
    } \
  } while (0)
void fill_words (uint64_t * words, size_t byte_count, uint64_t number);
bool words_are_of (const uint64_t * words, size_t byte_count, uint64_t number);

/* A client that speaks the protocol by hand. */
typedef struct
{
  int fd, wake_fd;
  uint32_t subscriber_id;
  int fds[3];                   /* control, arena, lease page of the newest ring */
  uint32_t generation;
} Raw;

int raw_connect (const char *channel);
bool raw_send (int fd, uint16_t type, const void *body, uint32_t body_bytes);
bool raw_hello (int fd, uint16_t version_min, uint16_t version_max, uint32_t memory_kinds);
/* Connected, welcomed and with a ring, but READY not said. */
bool raw_join (Raw * raw, const char *channel);
bool raw_ready (const Raw * raw, uint32_t generation);
bool raw_is_closed (int fd);    /* waits for it */
void raw_close (Raw * raw);
/* The kind of the next message, -1 if the peer hung up or none comes; its descriptors are closed. */
int raw_next (int fd, char *text, size_t text_bytes);

#endif
