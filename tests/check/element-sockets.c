/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections that the application made itself: the sink's action "add" and the source's property "socket". */
#define _GNU_SOURCE
#include "element-fixture.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static gboolean
make_pair (int type, GSocket ** one, GSocket ** other)
{
  int fds[2];

  if (socketpair (AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
    return FALSE;
  *one = g_socket_new_from_fd (fds[0], NULL);
  *other = g_socket_new_from_fd (fds[1], NULL);
  return *one != NULL && *other != NULL;
}

/* The socket is handed over. */
static gboolean
add_socket (GstElement * sink, GSocket * socket)
{
  gboolean added = FALSE;

  g_signal_emit_by_name (sink, "add", socket, &added);
  g_object_unref (socket);
  return added;
}

/* In state NULL; the socket is handed over. */
static void
catcher_prepare_socket (Catcher * catcher, GSocket * socket, const char *properties)
{
  catcher_prepare (catcher, properties);
  g_object_set (catcher->element, "channel", NULL, "socket", socket, NULL);
  g_object_unref (socket);
}

static void
feeder_prepare_nowhere (Feeder * feeder)
{
  feeder_prepare (feeder, "");
  g_object_set (feeder->element, "channel", NULL, NULL);
}

static gboolean
has_warning (GstElement * pipeline, const char *part)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_pop_filtered (bus, GST_MESSAGE_WARNING);
  GError *error = NULL;
  gboolean has = FALSE;

  gst_object_unref (bus);
  if (message == NULL)
    return FALSE;
  gst_message_parse_warning (message, &error, NULL);
  has = strstr (error->message, part) != NULL;
  g_error_free (error);
  gst_message_unref (message);
  return has;
}

static void
a_pair_of_sockets_is_enough (void)
{
  GSocket *ours, *theirs;
  GSocket *kept = NULL;
  Catcher catcher;
  Feeder feeder;

  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  feeder_prepare_nowhere (&feeder);
  REQUIRE (pipeline_play (feeder.pipeline));
  CHECK (has_warning (feeder.pipeline, "No channel is named"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  catcher_prepare_socket (&catcher, theirs, "");
  REQUIRE (pipeline_play (catcher.pipeline));
  g_object_get (catcher.element, "socket", &kept, NULL);
  CHECK (kept == NULL);
  CHECK (add_socket (feeder.element, ours));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  CHECK (feeder_push (&feeder, 2, 30) == GST_FLOW_OK);
  CHECK (catcher_take_number (&catcher) != G_MAXUINT64);
  CHECK (catcher_is_sound (&catcher));
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  catcher_close (&catcher);
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 0));
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
}

/* The other end speaks long before there is a publisher. */
static void
a_socket_may_be_added_before_the_start (void)
{
  GSocket *ours, *theirs;
  Catcher catcher;
  Feeder feeder;

  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  catcher_prepare_socket (&catcher, theirs, "");
  REQUIRE (pipeline_play (catcher.pipeline));
  feeder_prepare_nowhere (&feeder);
  CHECK (add_socket (feeder.element, ours));
  /* A pause while it waits for the answer costs nothing. */
  CHECK (gst_element_set_state (catcher.pipeline, GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE);
  CHECK (pipeline_play (catcher.pipeline));
  REQUIRE (pipeline_play (feeder.pipeline));
  CHECK (!has_warning (feeder.pipeline, "No channel"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
a_socket_that_was_added_goes_with_its_sink (void)
{
  GSocket *ours, *theirs;
  Feeder feeder;
  char byte;

  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  feeder_prepare_nowhere (&feeder);
  CHECK (add_socket (feeder.element, ours));
  feeder_close (&feeder);
  CHECK_EQUAL (recv (g_socket_get_fd (theirs), &byte, 1, MSG_DONTWAIT), 0);
  g_object_unref (theirs);
}

static void
channel_and_added_sockets_are_served_alike (void)
{
  Catcher by_socket, by_channel;
  GSocket *ours, *theirs;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  CHECK (add_socket (feeder.element, ours));
  catcher_prepare_socket (&by_socket, theirs, "");
  REQUIRE (pipeline_play (by_socket.pipeline) && catcher_open (&by_channel, ""));
  CHECK_EQUAL (catcher_take_number (&by_socket), 1);
  CHECK_EQUAL (catcher_take_number (&by_channel), 1);
  CHECK_EQUAL (stat_of (feeder.element, "num-subscribers"), 2);
  catcher_close (&by_socket);
  catcher_close (&by_channel);
  feeder_close (&feeder);
}

static void
the_end_of_a_socket_is_told (void)
{
  GSocket *ours, *theirs;
  Catcher catcher;
  GstEvent *event;
  Feeder feeder;

  /* An orderly end is the end of the stream: there is no other publisher to wait for. */
  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  CHECK (add_socket (feeder.element, ours));
  catcher_prepare_socket (&catcher, theirs, "");
  REQUIRE (pipeline_play (catcher.pipeline) && feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  feeder_close (&feeder);
  event = catcher_take_event (&catcher, GST_EVENT_EOS);
  CHECK (event != NULL);
  gst_clear_event (&event);
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
  /* Nobody is there any more. */
  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  g_object_unref (ours);
  catcher_prepare_socket (&catcher, theirs, "");
  REQUIRE (pipeline_play (catcher.pipeline));
  pipeline_stop_at_error (catcher.pipeline, "has hung up");
  catcher_close (&catcher);
}

static void
a_socket_serves_one_start (void)
{
  GSocket *ours, *theirs;
  Catcher catcher;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, "") && feeder_begin (&feeder, SMALL));
  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  CHECK (add_socket (feeder.element, ours));
  catcher_prepare_socket (&catcher, theirs, "");
  REQUIRE (pipeline_play (catcher.pipeline));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  CHECK (gst_element_set_state (catcher.pipeline, GST_STATE_NULL) == GST_STATE_CHANGE_SUCCESS);
  CHECK (!pipeline_play (catcher.pipeline));
  pipeline_stop_at_error (catcher.pipeline, "No channel is named");
  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  CHECK (add_socket (feeder.element, ours));
  g_object_set (catcher.element, "socket", theirs, NULL);
  g_object_unref (theirs);
  CHECK (pipeline_play (catcher.pipeline));
  CHECK (WAIT_UNTIL (stat_of (catcher.element, "generation") == 1));
  CHECK (feeder_push (&feeder, 2, 1) == GST_FLOW_OK);
  CHECK (catcher_take_number (&catcher) != G_MAXUINT64);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
sockets_of_other_kinds_are_turned_down (void)
{
  GSocket *ours, *theirs;
  Catcher catcher;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (make_pair (SOCK_STREAM, &ours, &theirs));
  CHECK (!add_socket (feeder.element, ours));
  catcher_prepare_socket (&catcher, theirs, "");
  CHECK (!pipeline_play (catcher.pipeline));
  pipeline_stop_at_error (catcher.pipeline, "of another kind");
  catcher_close (&catcher);
  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  g_socket_close (ours, NULL);
  g_socket_close (theirs, NULL);
  CHECK (!add_socket (feeder.element, ours));
  catcher_prepare_socket (&catcher, theirs, "");
  CHECK (!pipeline_play (catcher.pipeline));
  pipeline_stop_at_error (catcher.pipeline, "is closed");
  catcher_close (&catcher);
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
}

static void
an_answer_that_does_not_come_is_waited_for_as_long_as_told (void)
{
  GSocket *ours, *theirs;
  Catcher catcher;

  REQUIRE (make_pair (SOCK_SEQPACKET, &ours, &theirs));
  catcher_prepare_socket (&catcher, theirs, "connect-timeout=20000000");
  REQUIRE (pipeline_play (catcher.pipeline));
  pipeline_stop_at_error (catcher.pipeline, "raise connect-timeout");
  catcher_close (&catcher);
  g_object_unref (ours);
}

/* PATH: connects to it, says "frame NUMBER DISCONT" of each frame, "eos" or "error TEXT" at the end. */
static int
play_dialler (int argc, char **argv)
{
  GSocket *socket = g_socket_new (G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_SEQPACKET, G_SOCKET_PROTOCOL_DEFAULT, NULL);
  GSocketAddress *address = g_unix_socket_address_new (argv[0]);
  gboolean over = FALSE;
  CatcherItem *item;
  Catcher catcher;

  if (socket == NULL || !g_socket_connect (socket, address, NULL, NULL))
    return 1;
  g_object_unref (address);
  catcher_prepare_socket (&catcher, socket, "");
  if (!pipeline_play (catcher.pipeline))
    return 1;
  printf ("open\n");
  while (!over && (item = catcher_take (&catcher)) != NULL) {
    if (GST_IS_BUFFER (item->object))
      printf ("frame %" G_GUINT64_FORMAT "\n", item_number (item));
    else if (GST_EVENT_TYPE (item->object) == GST_EVENT_EOS)
      over = TRUE;
    item_free (item);
  }
  if (pipeline_is_well (catcher.pipeline))
    printf ("eos\n");
  else {
    gchar *text = pipeline_take_error (catcher.pipeline);
    printf ("error %s\n", text);
    g_free (text);
  }
  catcher_close (&catcher);
  return 0;
}

static void
a_listener_of_the_application_serves_other_processes (void)
{
  GSocketListener *listener = g_socket_listener_new ();
  GSocketAddress *address = g_unix_socket_address_new (fixture_path ("application"));
  Child children[2];
  Feeder feeder;

  REQUIRE (g_socket_listener_add_address (listener, address, G_SOCKET_TYPE_SEQPACKET, G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, NULL));
  g_object_unref (address);
  feeder_prepare_nowhere (&feeder);
  REQUIRE (pipeline_play (feeder.pipeline) && feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < G_N_ELEMENTS (children); i++) {
    GSocket *socket;
    child_start (&children[i], NULL, "dialler", fixture_path ("application"), NULL);
    socket = g_socket_listener_accept_socket (listener, NULL, NULL, NULL);
    REQUIRE (socket != NULL);
    CHECK (add_socket (feeder.element, socket));
  }
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 2));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK (child_expect (&children[0], "frame 1"));
  CHECK (child_expect (&children[1], "frame 1"));
  /* What a killed one held comes back. */
  child_kill (&children[0]);
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  CHECK (feeder_push (&feeder, 2, 1) == GST_FLOW_OK);
  CHECK (child_expect (&children[1], "frame 2"));
  feeder_close (&feeder);
  CHECK (child_expect (&children[1], "eos"));
  CHECK_EQUAL (child_end (&children[1]), 0);
  g_object_unref (listener);
}

/* FD: takes that connection, publishes one frame, and lives until it is killed. */
static int
play_heir (int argc, char **argv)
{
  GSocket *socket = g_socket_new_from_fd (atoi (argv[0]), NULL);
  Feeder feeder;

  feeder_prepare_nowhere (&feeder);
  if (socket == NULL || !add_socket (feeder.element, socket) || !pipeline_play (feeder.pipeline) || !feeder_begin (&feeder, SMALL)
      || feeder_push (&feeder, 1, 1) != GST_FLOW_OK)
    return 1;
  printf ("pushed\n");
  getchar ();
  feeder_close (&feeder);
  return 0;
}

static void
the_death_of_a_socket_s_publisher_is_an_error (void)
{
  Catcher catcher;
  GSocket *ours;
  gchar *number;
  Child child;
  int fds[2];

  REQUIRE (socketpair (AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
  number = g_strdup_printf ("%d", fds[1]);
  child_start (&child, NULL, "heir", number, NULL);
  g_free (number);
  close (fds[1]);
  ours = g_socket_new_from_fd (fds[0], NULL);
  catcher_prepare_socket (&catcher, ours, "");
  REQUIRE (pipeline_play (catcher.pipeline));
  CHECK (child_expect (&child, "pushed"));
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  child_kill (&child);
  pipeline_stop_at_error (catcher.pipeline, "make another connection");
  catcher_close (&catcher);
}

static const FixtureRole roles[] = { {"dialler", play_dialler}, {"heir", play_heir} };

static const FixtureTest tests[] = {
  {"a pair of sockets is enough, without a channel", a_pair_of_sockets_is_enough},
  {"a socket may be added before the start, and its other end may wait", a_socket_may_be_added_before_the_start},
  {"a socket that was added to a sink which never starts is closed with it", a_socket_that_was_added_goes_with_its_sink},
  {"a channel and added sockets are served alike", channel_and_added_sockets_are_served_alike},
  {"the end of a socket's publisher is told", the_end_of_a_socket_is_told},
  {"the death of a socket's publisher is an error", the_death_of_a_socket_s_publisher_is_an_error},
  {"a socket serves one start", a_socket_serves_one_start},
  {"sockets of other kinds are turned down", sockets_of_other_kinds_are_turned_down},
  {"an answer that does not come is waited for as long as told", an_answer_that_does_not_come_is_waited_for_as_long_as_told},
  {"a listener of the application serves other processes", a_listener_of_the_application_serves_other_processes},
};

ELEMENT_MAIN (tests, roles, G_N_ELEMENTS (roles))
