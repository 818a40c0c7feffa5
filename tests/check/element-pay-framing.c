/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where messages to a cuframesdepay begin and end, whatever pieces a socket makes of them: in parts, together, with descriptors that belong to
 * none, and at the end. */
#include "pay-forgery.h"

/* Each message is whole or left out wherever the stream is cut. */
static void
test_parts (void)
{
  Sender sender;
  Forgery forgery;

  sender_open (&sender, SOCK_STREAM);
  for (gsize part = 1; part < 60; part += 13) {
    forge (&sender, part, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
    for (gsize start = 0; start < forgery.size; start += part)
      send_part (&sender, &forgery, start, MIN (part, forgery.size - start));
    CHECK_EQUAL (catcher_take_number (&sender.catcher), part);
  }
  CHECK_EQUAL (stat_of (sender.catcher.element, "invalid"), 0);
  sender_close (&sender);
}

/* Several messages in one piece, of which the last alone has descriptors: so the kernel may put them together. */
static void
test_together (void)
{
  GBytes *gap = bytes_of_event (gst_event_new_gap (1, 2));
  GstEvent *event;
  Sender sender;
  Forgery all, one;

  sender_open (&sender, SOCK_STREAM);
  all.size = 0;
  for (guint i = 0; i < 4; i++) {
    forge (&sender, 5, i < 3 ? GST_CUFRAMES_MESSAGE_EVENT : GST_CUFRAMES_MESSAGE_BUFFER, i < 3 ? gap : NULL, &one);
    memcpy (all.data + all.size, one.data, one.size);
    all.size += one.size;
  }
  memcpy (all.fds, one.fds, sizeof all.fds);
  all.fd_count = one.fd_count;
  send_whole (&sender, &all);
  for (guint i = 0; i < 3; i++) {
    event = catcher_take_event (&sender.catcher, GST_EVENT_GAP);
    CHECK (event != NULL);
    gst_clear_event (&event);
  }
  CHECK_EQUAL (catcher_take_number (&sender.catcher), 5);
  CHECK_EQUAL (stat_of (sender.catcher.element, "invalid"), 0);
  sender_close (&sender);
  g_bytes_unref (gap);
}

/* A multisocketsink that could send a part of a message sends its descriptors again with the rest. */
static void
test_more_descriptors (void)
{
  Sender sender;
  Forgery forgery;

  sender_open (&sender, SOCK_STREAM);
  forge (&sender, 1, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
  send_part (&sender, &forgery, 0, 50);
  forgery.fds[forgery.fd_count++] = make_file (10, TRUE);
  send_part (&sender, &forgery, 50, forgery.size - 50);
  CHECK_EQUAL (catcher_take_number (&sender.catcher), 1);
  forge (&sender, 2, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
  while (forgery.fd_count < G_N_ELEMENTS (forgery.fds))
    forgery.fds[forgery.fd_count++] = open ("/dev/null", O_RDONLY | O_CLOEXEC);
  send_whole (&sender, &forgery);
  CHECK_EQUAL (catcher_take_number (&sender.catcher), 2);
  CHECK (WAIT_UNTIL (stat_of (sender.catcher.element, "invalid") == 2));
  send_good (&sender, 3);
  CHECK_EQUAL (catcher_take_number (&sender.catcher), 3);
  sender_close (&sender);
}

static void
test_end (void)
{
  GBytes *eos = bytes_of_event (gst_event_new_eos ());
  Sender sender;
  Forgery forgery;

  sender_open (&sender, SOCK_STREAM);
  send_good (&sender, 1);
  forge (&sender, 0, GST_CUFRAMES_MESSAGE_EVENT, eos, &forgery);
  send_whole (&sender, &forgery);
  CHECK_EQUAL (catcher_take_number (&sender.catcher), 1);
  CHECK (WAIT_UNTIL (sender.catcher.ended));
  sender_close (&sender);
  g_bytes_unref (eos);
}

/* A message cut off by the end. */
static void
test_cut_off (void)
{
  Sender sender;
  Forgery forgery;

  sender_open (&sender, SOCK_STREAM);
  send_good (&sender, 1);
  forge (&sender, 2, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
  send_part (&sender, &forgery, 0, 100);
  CHECK_EQUAL (catcher_take_number (&sender.catcher), 1);
  shutdown (sender.connection, SHUT_WR);
  CHECK (WAIT_UNTIL (sender.catcher.ended));
  CHECK_EQUAL (stat_of (sender.catcher.element, "invalid"), 1);
  sender_close (&sender);
}

static const FixtureTest tests[] = {
  {"a message may come in parts", test_parts},
  {"messages may come together", test_together},
  {"descriptors beyond those of a message do no harm", test_more_descriptors},
  {"an end that is sent ends the stream once", test_end},
  {"a message that the end cuts off is told", test_cut_off},
};

ELEMENT_MAIN (tests, NULL, 0)
