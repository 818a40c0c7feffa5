/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packet ring between processes and between threads, for what only real concurrency can show, and the price of its copies.
 * The thread tests are to be run under ThreadSanitizer too. */
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#include "packet-fixture.h"

#ifdef CUFRAMES_TESTPOINTS
void cuframes_testpoint (const char *name);

void
cuframes_testpoint (const char *name)
{
  (void) name;
}
#endif

#define STREAM_PACKETS 2000u

/* Two pipes: one byte for each packet announced, one for each packet taken, so that neither side spins and none is lost. */
typedef struct
{
  Fixture fixture;
  int announced[2], taken[2];
  bool written;
} Stream;

static void
stream_init (Stream *stream)
{
  fixture_init (&stream->fixture, 256, 16u << 20, 0, 0);
  stream->fixture.gop = 30;
  stream->fixture.least_bytes = 200;
  stream->fixture.most_bytes = 2000000;
  stream->written = false;
  if (pipe (stream->announced) != 0 || pipe (stream->taken) != 0)
    abort ();
}

static void
stream_clear (Stream *stream)
{
  for (unsigned i = 0; i < 2; i++) {
    stream->announced[i] = cuframes_close (stream->announced[i]);
    stream->taken[i] = cuframes_close (stream->taken[i]);
  }
  fixture_clear (&stream->fixture);
}

static bool
write_stream (Stream *stream)
{
  uint64_t outstanding_bytes = 0, oldest = 1;
  char byte = 0;

  for (uint64_t sequence = 1; sequence <= STREAM_PACKETS; sequence++) {
    outstanding_bytes += packet_info (&stream->fixture, sequence).size_bytes + 128;
    for (; outstanding_bytes > stream->fixture.data_bytes || sequence - oldest >= 256; oldest++) {
      if (read (stream->taken[0], &byte, 1) != 1)
        return false;
      outstanding_bytes -= packet_info (&stream->fixture, oldest).size_bytes + 128;
    }
    if (!write_next (&stream->fixture) || write (stream->announced[1], &byte, 1) != 1)
      return false;
  }
  return true;
}

static void
read_stream (Stream *stream)
{
  CuframesPacketReader reader;
  CuframesPacketInfo info;
  uint64_t smallest = UINT64_MAX, largest = 0;
  char byte;

  fixture_open_reader (&stream->fixture, &reader, CUFRAMES_PACKET_FROM_OLDEST, CUFRAMES_PACKET_FROM_NEWEST);
  for (uint64_t sequence = 1; sequence <= STREAM_PACKETS; sequence++) {
    CHECK (read (stream->announced[0], &byte, 1) == 1);
    CHECK (take_next (&stream->fixture, &reader, &info) == 0 && info.sequence == sequence);
    smallest = info.size_bytes < smallest ? info.size_bytes : smallest;
    largest = info.size_bytes > largest ? info.size_bytes : largest;
    CHECK (write (stream->taken[1], &byte, 1) == 1);
  }
  CHECK (take_next (&stream->fixture, &reader, &info) == CUFRAMES_E_EMPTY);
  CHECK (reader.missed == 0 && reader.overruns == 0);
  printf ("     %u packets of %llu to %llu bytes\n", STREAM_PACKETS, (unsigned long long) smallest, (unsigned long long) largest);
}

static void
every_packet_reaches_another_process_in_order (void)
{
  Stream stream;
  int status;

  stream_init (&stream);
  pid_t child = fork ();
  if (child == 0) {
    stream.announced[0] = cuframes_close (stream.announced[0]);
    stream.taken[1] = cuframes_close (stream.taken[1]);
    _exit (write_stream (&stream) ? 0 : 1);
  }
  /* a dead writer ends our reads; our own end of taken stays open, or our last answers would find nobody */
  stream.announced[1] = cuframes_close (stream.announced[1]);
  read_stream (&stream);
  stream.taken[1] = cuframes_close (stream.taken[1]);   /* a writer that waits for more ends */
  CHECK (waitpid (child, &status, 0) == child && WIFEXITED (status) && WEXITSTATUS (status) == 0);
  stream_clear (&stream);
}

/* ThreadSanitizer knows memory by its address, so in the thread tests both sides use the same mapping. */
static void
share_mapping (Fixture *fixture)
{
  size_t control_bytes = cuframes_packet_control_bytes (fixture->index_size);

  unmap_guarded (fixture->seen_control, control_bytes);
  unmap_guarded (fixture->seen_data, fixture->data_bytes);
  fixture->seen_control = fixture->control;
  fixture->seen_data = fixture->data;
}

static void
clear_shared (Fixture *fixture)
{
  cuframes_packet_ring_clear (&fixture->writer);
  unmap_guarded (fixture->control, cuframes_packet_control_bytes (fixture->index_size));
  unmap_guarded (fixture->data, fixture->data_bytes);
}

static void *
write_stream_thread (void *user_data)
{
  Stream *stream = user_data;
  stream->written = write_stream (stream);
  return NULL;
}

static void
every_packet_reaches_another_thread_in_order (void)
{
  Stream stream;
  pthread_t thread;

  stream_init (&stream);
  share_mapping (&stream.fixture);
  CHECK (pthread_create (&thread, NULL, write_stream_thread, &stream) == 0);
  read_stream (&stream);
  if (test_is_failing)
    exit (finish_tests () + 1); /* the writer may wait for ever */
  pthread_join (thread, NULL);
  CHECK (stream.written);
  clear_shared (&stream.fixture);
  for (unsigned i = 0; i < 2; i++) {
    cuframes_close (stream.announced[i]);
    cuframes_close (stream.taken[i]);
  }
}

typedef struct
{
  Fixture fixture;
  atomic_bool stop;
  bool written;
} Race;

/* As fast as it can, whoever reads. */
static void *
write_race_thread (void *user_data)
{
  Race *race = user_data;
  bool good = true;

  while (good && !atomic_load (&race->stop))
    good = write_next (&race->fixture);
  race->written = good;
  return NULL;
}

static void
wait_to_be_passed (const Race *race, uint64_t sequence)
{
  while (atomic_load (&race->fixture.seen_control->head) - sequence < 2 * race->fixture.index_size)
    sched_yield ();
}

/* Takes packets until enough came and enough were lost; now and then lets the writer pass it in the middle of one. */
static void
read_race (Race *race, CuframesPacketFrom from, uint64_t packets, uint64_t overruns)
{
  CuframesPacketReader reader;
  CuframesPacketInfo info;
  uint64_t delivered = 0, torn = 0, first = 0, last = 0, early = 0;
  uint8_t *data = malloc (race->fixture.most_bytes), metas[64];
  bool restarted = true;

  fixture_open_reader (&race->fixture, &reader, from, from);
  while (delivered < packets || reader.overruns < overruns) {
    int r = cuframes_packet_reader_peek (&reader, &info);
    if (r == 0) {
      if (delivered % 10 == 9 && !restarted)
        wait_to_be_passed (race, info.sequence);
      r = cuframes_packet_reader_take (&reader, data, metas);
      torn += r == CUFRAMES_E_OVERRUN;
    }
    CHECK (r == 0 || r == CUFRAMES_E_OVERRUN || r == CUFRAMES_E_EMPTY);
    if (r == CUFRAMES_E_EMPTY)
      sched_yield ();
    restarted = restarted || r == CUFRAMES_E_OVERRUN;
    if (r != 0)
      continue;
    CHECK (bytes_are_right (data, info.size_bytes, info.sequence, 0) && bytes_are_right (metas, info.meta_bytes, info.sequence, 1));
    CHECK (restarted ? packet_is_key (&race->fixture, info.sequence) : info.sequence == last + 1);
    if (delivered == 0) {
      first = info.sequence;
      /* The writer may have passed it between finding a start and taking it. */
      early = reader.missed;
    }
    restarted = false;
    last = info.sequence;
    delivered++;
    CHECK (last - first + 1 == delivered + reader.missed - early);
  }
  printf ("     %llu packets taken, %llu missed, %llu overruns, %llu of them during the copy\n", (unsigned long long) delivered,
      (unsigned long long) reader.missed, (unsigned long long) reader.overruns, (unsigned long long) torn);
  free (data);
}

static void
race_with (uint32_t index_size, uint64_t most_bytes, CuframesPacketFrom from)
{
  Race race = {.written = false };
  pthread_t thread;

  fixture_init (&race.fixture, index_size, 1u << 20, UINT64_MAX - 50, UINT64_MAX - 65535);
  race.fixture.most_bytes = most_bytes;
  share_mapping (&race.fixture);
  atomic_init (&race.stop, false);
  CHECK (pthread_create (&thread, NULL, write_race_thread, &race) == 0);
  read_race (&race, from, 1000, 50);
  atomic_store (&race.stop, true);
  pthread_join (thread, NULL);
  CHECK (race.written);
  clear_shared (&race.fixture);
}

static void
a_reader_in_a_race_gets_no_torn_packet (void)
{
  race_with (512, 60000, CUFRAMES_PACKET_FROM_NEWEST);
  if (!test_is_failing)
    race_with (512, 60000, CUFRAMES_PACKET_FROM_OLDEST);        /* the next to be overwritten */
  if (!test_is_failing)
    race_with (16, 2000, CUFRAMES_PACKET_FROM_OLDEST);  /* by the index, long before the data */
}

/* Prints only: what the word-wise copies cost against memcpy(), through a ring larger than the caches of a core. */
static void
the_copies_are_measured (void)
{
  static const uint64_t sizes[] = { 256, 4096, 65536, 2u << 20 };
  Fixture fixture;
  CuframesPacketReader reader;
  const uint64_t total = UINT64_C (64) << 20;
  uint8_t *bytes = calloc (1, 2u << 20);

  fixture_init (&fixture, 1u << 16, 16u << 20, 0, 0);
  fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_OLDEST, CUFRAMES_PACKET_FROM_NEWEST);
  for (unsigned i = 0; i < 4; i++) {
    CuframesPacketInfo info = {.size_bytes = sizes[i],.flags = CUFRAMES_PACKET_KEY };
    struct iovec piece = {.iov_base = bytes,.iov_len = sizes[i] };
    uint64_t sequence, write_ns = 0, read_ns = 0, copy_ns = 0, count = total / sizes[i], batch = (4u << 20) / sizes[i];

    for (uint64_t done = 0; done < count; done += batch) {
      uint64_t start_ns = cuframes_now_ns ();
      for (uint64_t k = 0; k < batch; k++)
        CHECK (cuframes_packet_ring_write (&fixture.writer, &info, &piece, 1, NULL, &sequence) == 0);
      uint64_t written_ns = cuframes_now_ns ();
      for (uint64_t k = 0; k < batch; k++)
        CHECK (cuframes_packet_reader_read (&reader, bytes, sizes[i], NULL, 0, &info) == 0);
      uint64_t taken_ns = cuframes_now_ns ();
      for (uint64_t k = 0; k < batch; k++) {
        memcpy (bytes, fixture.seen_data + k * sizes[i], sizes[i]);
        atomic_signal_fence (memory_order_seq_cst);
      }
      copy_ns += cuframes_now_ns () - taken_ns;
      read_ns += taken_ns - written_ns;
      write_ns += written_ns - start_ns;
    }
    double bytes_copied = (double) (count * sizes[i]);
    printf ("     %8llu bytes a packet: write %5.1f GB/s, read %5.1f GB/s, memcpy() alone %5.1f GB/s\n", (unsigned long long) sizes[i],
        bytes_copied / (double) write_ns, bytes_copied / (double) read_ns, bytes_copied / (double) copy_ns);
  }
  free (bytes);
  fixture_clear (&fixture);
}

int
main (void)
{
  RUN (every_packet_reaches_another_process_in_order);
  RUN (every_packet_reaches_another_thread_in_order);
  RUN (a_reader_in_a_race_gets_no_torn_packet);
  RUN (the_copies_are_measured);
  return finish_tests ();
}
