/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of libcuframes share: tests that are named by sentences, a channel directory of its own for each, descriptors and
 * mappings counted before and after, other processes that are this program in another role, and frames that are known by their number. */
#ifndef CORE_FIXTURE_H
#define CORE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "cuframes.h"

#define FIXTURE_SKIPPED 77
/* Longer than anything takes that works; shorter than what anybody likes to wait for. */
#define FIXTURE_BOUND_NS UINT64_C (10000000000)
#define FIXTURE_SLOT_BYTES 4096u

typedef struct
{
  const char *sentence;
  void (*run) (void);
} FixtureTest;

typedef struct
{
  const char *name;
  int (*play) (int argc, char **argv);
} FixtureRole;

/* With "--role NAME ..." plays the role; with "--only TEXT" runs the tests whose sentence has it. Roles of core-roles.c are known always. */
int fixture_main (int argc, char **argv, const FixtureTest * tests, size_t test_count, const FixtureRole * roles, size_t role_count);
extern const FixtureRole core_roles[];
extern const size_t core_role_count;

#define FIXTURE_MAIN(tests, roles, role_count) \
  int main (int argc, char **argv) { return fixture_main (argc, argv, tests, sizeof tests / sizeof tests[0], roles, role_count); }

void fixture_fail (const char *file, int line, const char *function, const char *what) __attribute__ ((noinline));
void fixture_skip (const char *why);
bool fixture_is_slow (void);    /* under valgrind or a sanitizer: figures of time mean nothing */

/* Goes on after a failure, or leaves the test. */
#define CHECK(condition) \
  do { if (!(condition)) fixture_fail (__FILE__, __LINE__, __func__, #condition); } while (0)
#define REQUIRE(condition) \
  do { if (!(condition)) { fixture_fail (__FILE__, __LINE__, __func__, #condition); return; } } while (0)
#define CHECK_EQUAL(a, b) \
  do { \
    const long long a_ = (long long) (a), b_ = (long long) (b); \
    char text_[256]; \
    snprintf (text_, sizeof text_, "%s is %lld, not %lld", #a, a_, b_); \
    if (a_ != b_) fixture_fail (__FILE__, __LINE__, __func__, text_); \
  } while (0)

/* The test's own channel directory, and a path in it that lives as long as the test. */
const char *fixture_directory (void);
const char *fixture_path (const char *name);
const char *fixture_socket (const char *channel);

unsigned fixture_count_fds (void);
unsigned fixture_count_threads (void);
unsigned fixture_count_mappings (const char *of);       /* whose name has this; NULL for all */
uint64_t fixture_resident_bytes (void);

/* Looks again and again until it is so, or the time is over. */
#define WAIT_UNTIL(expression) \
  ({ const uint64_t end_ = fixture_now_ns () + FIXTURE_BOUND_NS; \
     while (!(expression) && fixture_now_ns () < end_) fixture_yield (); \
     (expression); })
uint64_t fixture_now_ns (void);
void fixture_yield (void);

/* Another process: this program in a role. Talks by lines over its standard input and output. */
typedef struct
{
  pid_t pid;
  int in, out;
  char buffer[4096];
  size_t used;
} Child;

void child_start (Child * child, const char *environment, const char *role, ...) __attribute__ ((sentinel));
bool child_read (Child * child, char *line, size_t line_bytes);
void child_say (Child * child, const char *format, ...) __attribute__ ((format (printf, 2, 3)));
bool child_has_answered (const Child * child);
/* The number in the next line; -1000 if none came. */
long child_answer (Child * child);
/* Says it and takes the answer. */
long child_ask (Child * child, const char *format, ...) __attribute__ ((format (printf, 2, 3)));
int child_wait (Child * child); /* the wait status, or -1 if it did not end; then it is killed */
int child_end (Child * child);  /* closes its input, waits */
void child_kill (Child * child);

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
/* Takes the packet of an item. 0, -EAGAIN, or -EBADMSG if it is not what its number says. */
int sink_take (CuframesSubscriber * subscriber, const CuframesItem * item);

/* A subscriber that wants items. */
CuframesSubscriber *sink_open (const char *channel, const CuframesSubscriberConfig * config);
int sink_next (CuframesSubscriber * subscriber, CuframesItem * item);
bool sink_expect (CuframesSubscriber * subscriber, CuframesItemKind kind, CuframesItem * item);
bool frame_is_whole (CuframesFrame * frame);
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
