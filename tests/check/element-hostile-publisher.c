/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishers that are none of ours, or mean ill: what they publish ends in one error, and they hold nobody who looks for channels. */
#define _GNU_SOURCE
#include "element-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cuframes-channel.h"
#include "cuframes-publisher.h"

#define SLOT_BYTES 8192u
/* As a publisher without GStreamer writes them. */
#define GRAY_48 "video/x-raw, format=(string)GRAY8, width=(int)64, height=(int)48, framerate=(fraction)30/1"
#define GRAY_480 "video/x-raw, format=(string)GRAY8, width=(int)64, height=(int)480, framerate=(fraction)30/1"
#define ENCODED "video/x-raw, format=(string)ENCODED, width=(int)64, height=(int)48, framerate=(fraction)30/1"

/* One frame with that description on the channel "test". */
static void
publish_one (const CuframesFrameInfo * info, const char *format, CuframesPublisher ** ret_publisher)
{
  char path[CUFRAMES_SOCKET_PATH_BYTES];
  const CuframesPublisherConfig config = {.socket_path = path };
  CuframesRingConfig ring_config = {.slot_bytes = SLOT_BYTES,.slot_count = 4,.reserve_count = 1,.fence_offset_bytes = CUFRAMES_NONE,
    .format = format,.format_bytes = (uint32_t) strlen (format) + 1
  };
  CuframesRing *ring = NULL;
  uint64_t sequence;
  uint32_t slot;

  REQUIRE (cuframes_channel_path ("test", path, sizeof path) == 0 && cuframes_publisher_new (&config, ret_publisher) == 0);
  REQUIRE (cuframes_arena_new_host (4 * SLOT_BYTES, &ring_config.arena) == 0);
  REQUIRE (cuframes_publisher_start_ring (*ret_publisher, &ring_config, &ring) == 0);
  CHECK_EQUAL (cuframes_ring_claim (ring, 0, &slot), 0);
  CHECK_EQUAL (cuframes_publisher_publish (*ret_publisher, ring, slot, info, &sequence), 0);
  cuframes_ring_unref (ring);
  cuframes_arena_unref (ring_config.arena);
}

static void
test_impossible_frames (void)
{
  static const struct
  {
    CuframesFrameInfo info;
    const char *format;
  } frames[] = {
    {{0}, GRAY_48},
    {{.size_bytes = 64 * 48,.width = 64,.height = 48}, GRAY_48},
    {{.size_bytes = 64,.format = GST_VIDEO_FORMAT_ENCODED}, ENCODED},
    {{.size_bytes = SLOT_BYTES,.format = GST_VIDEO_FORMAT_GRAY8,.width = 64,.height = 480,.plane_count = 1,.plane_stride_bytes = {64}}, GRAY_480},
  };

  for (guint i = 0; i < G_N_ELEMENTS (frames); i++) {
    CuframesPublisher *publisher = NULL;
    GstElement *pipeline;
    publish_one (&frames[i].info, frames[i].format, &publisher);
    pipeline = pipeline_new ("cuframessrc channel=test name=cuframes ! fakesink");
    pipeline_play (pipeline);
    pipeline_stop_at_error (pipeline, "does not fit its own format");
    pipeline_stop (pipeline);
    cuframes_publisher_free (publisher);
  }
}

/* Tells of another format as often as it can. */
typedef struct
{
  int listener, wake[2];
  uint8_t stats[2][1024];
  size_t sizes[2];
  gint over;
} Teller;

static gboolean
teller_open (Teller * teller, struct sockaddr_un *address)
{
  *address = (struct sockaddr_un) {.sun_family = AF_UNIX };
  teller->listener = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  for (guint i = 0; i < 2; i++) {
    const char *format = i == 0 ? GRAY_48 : GRAY_480;
    const CuframesMessage message = {.type = CUFRAMES_MESSAGE_STATS,.stats = {.format = format,.format_bytes = (uint32_t) strlen (format) + 1} };
    if (cuframes_wire_encode (&message, 0, teller->stats[i], sizeof teller->stats[i], &teller->sizes[i]) != 0)
      return FALSE;
  }
  return pipe2 (teller->wake, O_CLOEXEC | O_NONBLOCK) == 0 && cuframes_channel_path ("test", address->sun_path, sizeof address->sun_path) == 0
      && bind (teller->listener, (struct sockaddr *) address, sizeof *address) == 0 && listen (teller->listener, 1) == 0;
}

static void
teller_close (Teller * teller, const struct sockaddr_un *address)
{
  close (teller->listener);
  close (teller->wake[0]);
  close (teller->wake[1]);
  unlink (address->sun_path);
}

static gboolean
tell (int fd, const uint8_t * bytes, size_t byte_count)
{
  struct pollfd writable = {.fd = fd,.events = POLLOUT };
  ssize_t sent = send (fd, bytes, byte_count, MSG_NOSIGNAL | MSG_DONTWAIT);

  if (sent < 0 && errno == EAGAIN)
    poll (&writable, 1, 10);
  return sent >= 0 || errno == EAGAIN;
}

static gpointer
tell_without_end (gpointer data)
{
  Teller *teller = data;
  const CuframesMessage welcome = {.type = CUFRAMES_MESSAGE_WELCOME,.welcome = {.version = 1,.subscriber_id = 1,.ring_id = 1,.max_leases = 1} };
  const int fd = accept4 (teller->listener, NULL, NULL, SOCK_CLOEXEC);

  if (fd < 0 || cuframes_channel_send (fd, &welcome, (int[]) { teller->wake[0], teller->wake[0] }, 2) != 0)
    fixture_fail (__FILE__, __LINE__, __func__, "an observer is welcomed");
  for (guint i = 0; !g_atomic_int_get (&teller->over) && tell (fd, teller->stats[i % 2], teller->sizes[i % 2]); i++)
    continue;
  close (fd);
  return NULL;
}

static void
test_teller (void)
{
  GstDeviceProvider *provider = gst_device_provider_factory_get_by_name ("cuframesdeviceprovider");
  struct sockaddr_un address;
  Teller teller = { 0 };
  GList *devices;
  GThread *thread;

  REQUIRE (provider != NULL && teller_open (&teller, &address));
  thread = g_thread_new ("teller", tell_without_end, &teller);
  CHECK (gst_device_provider_start (provider));
  devices = gst_device_provider_get_devices (provider);
  CHECK_EQUAL (g_list_length (devices), 1);
  g_list_free_full (devices, gst_object_unref);
  gst_device_provider_stop (provider);
  g_atomic_int_set (&teller.over, TRUE);
  g_thread_join (thread);
  gst_object_unref (provider);
  teller_close (&teller, &address);
}

/* What piles up on the bus of an application that does not look. */
static void
test_teller_is_rationed (void)
{
  const guint64 start = fixture_now_ns ();
  GstDeviceProvider *provider = gst_device_provider_factory_get_by_name ("cuframesdeviceprovider");
  GstBus *bus = gst_device_provider_get_bus (provider);
  struct sockaddr_un address;
  Teller teller = { 0 };
  GThread *thread;

  REQUIRE (teller_open (&teller, &address));
  thread = g_thread_new ("teller", tell_without_end, &teller);
  CHECK (gst_device_provider_start (provider));
  for (guint i = 0; i < 100; i++) {
    GstMessage *message = gst_bus_timed_pop_filtered (bus, FIXTURE_BOUND_NS, GST_MESSAGE_DEVICE_CHANGED);
    REQUIRE (message != NULL);
    gst_message_unref (message);
  }
  CHECK (fixture_now_ns () - start >= 500 * GST_MSECOND);
  gst_device_provider_stop (provider);
  g_atomic_int_set (&teller.over, TRUE);
  g_thread_join (thread);
  gst_bus_set_flushing (bus, TRUE);
  gst_bus_set_flushing (bus, FALSE);
  gst_object_unref (bus);
  gst_object_unref (provider);
  teller_close (&teller, &address);
}

static const FixtureTest tests[] = {
  {"a frame that its own format cannot have is one error", test_impossible_frames},
  {"a publisher that tells of formats without end holds up nobody who looks for channels", test_teller},
  {"a publisher that tells of formats without end is heard no more than so often", test_teller_is_rationed},
};

/* A provider is made once and keeps what it opens. */
static void
warm_up_provider (void)
{
  GstDeviceProvider *provider = gst_device_provider_factory_get_by_name ("cuframesdeviceprovider");

  gst_device_provider_start (provider);
  gst_device_provider_stop (provider);
  gst_object_unref (provider);
}

int
main (int argc, char **argv)
{
  gst_init (NULL, NULL);
  warm_up_provider ();
  return fixture_main (argc, argv, &element_part, tests, G_N_ELEMENTS (tests), NULL, 0);
}
