/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames in GPU memory over sockets without a channel, between processes: those that the elements were given, and those of pay and depay. */
#include "cuda-elements-fixture.h"

#include <fcntl.h>
#include <sys/socket.h>

/* One end of a pair of sockets for each. */
static void
start_over_pair (int type, const char *as, Child * writer, const char *writer_properties, const char *how, Child * reader, const char *environment,
    const char *reader_properties, const char *reader_how)
{
  gchar *properties[2];
  int ends[2];

  REQUIRE (socketpair (AF_UNIX, type, 0, ends) == 0);
  properties[0] = g_strdup_printf ("%s=%d %s", as, ends[0], writer_properties);
  properties[1] = g_strdup_printf ("%s=%d %s", as, ends[1], reader_properties);
  fcntl (ends[1], F_SETFD, FD_CLOEXEC);
  START (writer, LATE, "writer", properties[0], how);
  close (ends[0]);
  fcntl (ends[1], F_SETFD, 0);
  START (reader, environment, "reader", properties[1], reader_how);
  close (ends[1]);
  child_say (writer, "caps " ON_GPU);
  CHECK (child_expect (writer, "caps"));
  g_free (properties[0]);
  g_free (properties[1]);
}

static void
start_over_sockets (Child * writer, const char *writer_properties, const char *how, Child * reader, const char *environment,
    const char *reader_properties, const char *reader_how)
{
  start_over_pair (SOCK_STREAM, "descriptor", writer, writer_properties, how, reader, environment, reader_properties, reader_how);
}

/* There is no second try over a given socket: who wants frames in GPU memory says so. */
static void
test_given_socket (void)
{
  Child writer, reader;

  report_here ();
  start_over_pair (SOCK_SEQPACKET, "added", &writer, "", "queued", &reader, LATE, "cuda-device-id=0 timestamps=original", "map");
  child_say (&writer, "push 1 1");
  CHECK (child_expect (&reader, "frame 1"));
  child_say (&writer, "push 2 30");
  CHECK (child_expect (&writer, "pushed 0"));
  CHECK_EQUAL (ask (&writer, "copies"), 0);
  expect_end (&writer);
  CHECK (child_expect (&reader, "total"));
  expect_end (&reader);
  expect_nothing_left (2);
}

static void
test_given_socket_without_a_gpu (void)
{
  Child writer, reader;

  start_over_pair (SOCK_SEQPACKET, "added", &writer, "", "mapped", &reader, AT_ONCE, "", "map");
  child_say (&writer, "push 1 1");
  child_say (&reader, "error");
  expect_text (&reader, "error", "set cuda-device-id", NULL);
  child_end (&reader);
  expect_end (&writer);
}

static void
pass_over_sockets (const char *how, const char *reader_how, guint copies)
{
  Child writer, reader;

  report_here ();
  start_over_sockets (&writer, "wait-timeout=10000000000", how, &reader, LATE, "", reader_how);
  child_say (&writer, "push 1 %u", COUNT);
  CHECK (child_expect (&writer, "pushed 0"));
  CHECK (child_expect (&reader, "frame 60"));
  CHECK_EQUAL (ask (&writer, "buffers"), COUNT);
  CHECK_EQUAL (ask (&writer, "copies"), copies);
  CHECK_EQUAL (ask (&writer, "drops"), 0);
  CHECK_EQUAL (ask (&reader, "invalid"), 0);
  /* What is held, or that the GPU still has, would outlive the sender's elements. */
  child_say (&writer, "settle");
  CHECK (child_expect (&writer, "settled 1"));
  CHECK (WAIT_UNTIL (ask (&writer, "held") == 0));
  expect_end (&writer);
  expect_total (&reader, COUNT);
  expect_end (&reader);
  expect_nothing_left (2);
}

static void
test_pay_slots (void)
{
  pass_over_sockets ("queued", "map", 0);
}

static void
test_pay_slots_of_the_cpu (void)
{
  pass_over_sockets ("mapped", "map", 0);
}

static void
test_pay_reader_that_gives_back_early (void)
{
  if (cuda_has_streams ())
    pass_over_sockets ("queued", "behind", 0);
  else
    fixture_skip ("memory carries no stream before GStreamer 1.24");
}

static void
test_pay_foreign_memory (void)
{
  pass_over_sockets ("foreign", "apart", COUNT);
}

static void
test_pay_two_gpus (void)
{
  Child writer, reader;

  if (needs_software ())
    return;
  start_over_sockets (&writer, "", "mapped", &reader, "FAKECUDA_DEVICES=2 FAKECUDA_PEER=0", "cuda-device-id=1", "map");
  child_say (&writer, "push 1 1");
  child_say (&reader, "error");
  expect_text (&reader, "error", "GPU-66616b65-6375-6461-2d64-657669636530", "Software GPU 1 (GPU-66616b65-6375-6461-2d64-657669636531)", NULL);
  child_end (&reader);
  expect_end (&writer);
}

static void
test_pay_no_driver (void)
{
  Child writer, reader;

  if (needs_software ())
    return;
  start_over_sockets (&writer, "", "mapped", &reader, "LD_LIBRARY_PATH", "", "map");
  child_say (&writer, "push 1 1");
  child_say (&reader, "error");
  expect_text (&reader, "error", "GPU memory", NULL);
  child_end (&reader);
  expect_end (&writer);
}

static const FixtureTest tests[] = {
  {"frames in slots cross over a socket that the source was given with a GPU", test_given_socket},
  {"without a GPU a source that was given a socket says what to set", test_given_socket_without_a_gpu},
  {"frames in slots cross by pay and depay without a copy", test_pay_slots},
  {"what the CPU wrote into slots of the GPU crosses by pay and depay", test_pay_slots_of_the_cpu},
  {"memory comes back to a payer when the reader's GPU is done, not its CPU", test_pay_reader_that_gives_back_early},
  {"a payer copies other GPU memory once each", test_pay_foreign_memory},
  {"a depayer names both GPUs when they do not reach each other", test_pay_two_gpus},
  {"a depayer without a driver says so", test_pay_no_driver},
};

ELEMENT_MAIN (tests, cuda_roles, cuda_role_count)
