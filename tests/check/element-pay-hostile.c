/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a sender that is broken or hostile can say in a message to a cuframesdepay: each such message is left out, nothing of it stays behind, and
 * the next sound one arrives. */
#include "pay-forgery.h"

/* Where fields lie in the message of a buffer with two planes and one memory. */
enum
{
  AT_VERSION = 8,
  AT_SIZE = 10,
  AT_TYPE = 12,
  AT_FDS = 13,
  AT_WIDTH = 87,
  AT_HEIGHT = 91,
  AT_PLANES = 95,
  AT_FIRST_PLANE = 96,
  AT_FIRST_STRIDE = 104,
  AT_MEMORIES = 120,
  AT_KIND = 121,
  AT_OFFSET = 122,
  AT_BYTES = 130,
  AT_STATE = 138,
};

static void
put16 (Forgery * forgery, gsize at, guint16 value)
{
  value = GUINT16_TO_LE (value);
  memcpy (forgery->data + at, &value, sizeof value);
}

static void
put32 (Forgery * forgery, gsize at, guint32 value)
{
  value = GUINT32_TO_LE (value);
  memcpy (forgery->data + at, &value, sizeof value);
}

static void
put64 (Forgery * forgery, gsize at, guint64 value)
{
  value = GUINT64_TO_LE (value);
  memcpy (forgery->data + at, &value, sizeof value);
}

static void
replace_fd (Forgery * forgery, guint index, int take_fd)
{
  CHECK (take_fd >= 0);
  close (forgery->fds[index]);
  forgery->fds[index] = take_fd;
}

static void
drop_fd (Forgery * forgery)
{
  close (forgery->fds[--forgery->fd_count]);
}

/* ---- spoilers ---- */

static void
spoil_magic (Forgery * forgery)
{
  forgery->data[3] ^= 1;
}

static void
spoil_version (Forgery * forgery)
{
  forgery->data[AT_VERSION] = 2;
}

static void
spoil_size_zero (Forgery * forgery)
{
  put16 (forgery, AT_SIZE, 0);
}

static void
spoil_size_large (Forgery * forgery)
{
  put16 (forgery, AT_SIZE, G_MAXUINT16);
}

static void
spoil_size_short (Forgery * forgery)
{
  put16 (forgery, AT_SIZE, AT_STATE);
}

static void
spoil_type (Forgery * forgery)
{
  forgery->data[AT_TYPE] = 9;
}

static void
spoil_type_event (Forgery * forgery)
{
  forgery->data[AT_TYPE] = GST_CUFRAMES_MESSAGE_EVENT;
}

static void
spoil_fd_number (Forgery * forgery)
{
  forgery->data[AT_FDS]++;
}

static void
spoil_no_memory_fd (Forgery * forgery)
{
  drop_fd (forgery);
}

static void
spoil_no_fds (Forgery * forgery)
{
  drop_fd (forgery);
  drop_fd (forgery);
}

static void
spoil_planes (Forgery * forgery)
{
  forgery->data[AT_PLANES] = 5;
}

static void
spoil_no_planes (Forgery * forgery)
{
  forgery->data[AT_PLANES] = 0;
}

static void
spoil_plane_beyond (Forgery * forgery)
{
  put64 (forgery, AT_FIRST_PLANE, FILE_BYTES);
}

static void
spoil_plane_overflow (Forgery * forgery)
{
  put64 (forgery, AT_FIRST_PLANE, G_MAXUINT64 - 100);
}

static void
spoil_stride_negative (Forgery * forgery)
{
  put32 (forgery, AT_FIRST_STRIDE, (guint32) - 64);
}

static void
spoil_stride_huge (Forgery * forgery)
{
  put32 (forgery, AT_FIRST_STRIDE, G_MAXINT32);
}

static void
spoil_width (Forgery * forgery)
{
  put32 (forgery, AT_WIDTH, G_MAXUINT32);
}

static void
spoil_height (Forgery * forgery)
{
  put32 (forgery, AT_HEIGHT, 4800);
}

static void
spoil_memories (Forgery * forgery)
{
  forgery->data[AT_MEMORIES] = 255;
}

static void
spoil_no_memories (Forgery * forgery)
{
  forgery->data[AT_MEMORIES] = 0;
}

static void
spoil_kind (Forgery * forgery)
{
  forgery->data[AT_KIND] = 0;
}

static void
spoil_kind_dmabuf (Forgery * forgery)
{
  forgery->data[AT_KIND] = GST_CUFRAMES_MESSAGE_MEMORY_DMABUF;
}

static void
spoil_kind_cuda (Forgery * forgery)
{
  forgery->data[AT_KIND] = GST_CUFRAMES_MESSAGE_MEMORY_CUDA;
}

static void
spoil_offset_beyond (Forgery * forgery)
{
  put64 (forgery, AT_OFFSET, FILE_BYTES);
}

static void
spoil_offset_overflow (Forgery * forgery)
{
  put64 (forgery, AT_OFFSET, G_MAXUINT64 - 1000);
}

static void
spoil_bytes_beyond (Forgery * forgery)
{
  put64 (forgery, AT_BYTES, FILE_BYTES);
}

static void
spoil_bytes_zero (Forgery * forgery)
{
  put64 (forgery, AT_BYTES, 0);
}

static void
spoil_bytes_few (Forgery * forgery)
{
  put64 (forgery, AT_BYTES, 100);
}

static void
spoil_bytes_overflow (Forgery * forgery)
{
  put64 (forgery, AT_BYTES, G_MAXUINT64);
}

static void
spoil_unsealed (Forgery * forgery)
{
  replace_fd (forgery, 1, make_file (FILE_BYTES, FALSE));
}

static void
spoil_small (Forgery * forgery)
{
  replace_fd (forgery, 1, make_file (OFFSET + 100, TRUE));
}

static void
spoil_empty (Forgery * forgery)
{
  replace_fd (forgery, 1, make_file (0, TRUE));
}

static void
spoil_pipe (Forgery * forgery)
{
  replace_fd (forgery, 1, fcntl (forgery->fds[0], F_DUPFD_CLOEXEC, 0));
}

static void
spoil_directory (Forgery * forgery)
{
  replace_fd (forgery, 1, open ("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void
spoil_device (Forgery * forgery)
{
  replace_fd (forgery, 1, open ("/dev/zero", O_RDWR | O_CLOEXEC));
}

static void
spoil_path (Forgery * forgery)
{
  replace_fd (forgery, 1, open ("/tmp", O_PATH | O_CLOEXEC));
}

static void
spoil_file_on_disk (Forgery * forgery)
{
  replace_fd (forgery, 1, open ("/proc/self/exe", O_RDONLY | O_CLOEXEC));
}

static void
spoil_socket (Forgery * forgery)
{
  replace_fd (forgery, 1, socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static void
spoil_write_only (Forgery * forgery)
{
  gchar *path = g_strdup_printf ("/proc/self/fd/%d", forgery->fds[1]);

  replace_fd (forgery, 1, open (path, O_WRONLY | O_CLOEXEC));
  g_free (path);
}

static void
spoil_state_size (Forgery * forgery)
{
  put32 (forgery, AT_STATE, 0x7fffffff);
}

static void
spoil_state_by_fd (Forgery * forgery)
{
  put32 (forgery, AT_STATE, 0xffffffff);
}

static void
spoil_end (Forgery * forgery)
{
  put16 (forgery, AT_SIZE, (guint16) (forgery->size + 3));
  forgery->size += 3;
}

static const struct
{
  const char *what;
  void (*spoil) (Forgery * forgery);
} spoilers[] = {
  {"magic", spoil_magic}, {"version", spoil_version}, {"size 0", spoil_size_zero}, {"size too large", spoil_size_large},
  {"size too short", spoil_size_short}, {"type", spoil_type}, {"buffer as event", spoil_type_event}, {"number of descriptors", spoil_fd_number},
  {"no memory", spoil_no_memory_fd}, {"no descriptors", spoil_no_fds}, {"5 planes", spoil_planes},
  {"no planes", spoil_no_planes}, {"plane beyond", spoil_plane_beyond}, {"plane overflow", spoil_plane_overflow},
  {"negative stride", spoil_stride_negative}, {"huge stride", spoil_stride_huge}, {"width", spoil_width}, {"height", spoil_height},
  {"255 memories", spoil_memories}, {"no memories", spoil_no_memories}, {"kind", spoil_kind}, {"no DMA buffer", spoil_kind_dmabuf},
  {"no GPU memory", spoil_kind_cuda}, {"offset beyond", spoil_offset_beyond}, {"offset overflow", spoil_offset_overflow},
  {"bytes beyond", spoil_bytes_beyond}, {"no bytes", spoil_bytes_zero}, {"few bytes", spoil_bytes_few}, {"bytes overflow", spoil_bytes_overflow},
  {"unsealed", spoil_unsealed}, {"small", spoil_small}, {"empty", spoil_empty}, {"pipe", spoil_pipe}, {"directory", spoil_directory},
  {"device", spoil_device}, {"path", spoil_path}, {"file on disk", spoil_file_on_disk}, {"socket", spoil_socket},
  {"write-only", spoil_write_only}, {"state too large", spoil_state_size}, {"state nowhere", spoil_state_by_fd}, {"bytes at the end", spoil_end},
};

/* ---- tests ---- */

static void
check_next (Sender * sender, guint64 number, guint64 invalid_before, const char *what)
{
  send_good (sender, number);
  if (catcher_take_number (&sender->catcher) != number || stat_of (sender->catcher.element, "invalid") <= (gint64) invalid_before)
    fixture_fail (__FILE__, __LINE__, __func__, what);
}

static void
send_spoiled (int type)
{
  Sender sender;
  guint fds;

  sender_open (&sender, type);
  send_good (&sender, 1);
  CHECK_EQUAL (catcher_take_number (&sender.catcher), 1);
  fds = fixture_count_fds ();
  for (guint i = 0; i < G_N_ELEMENTS (spoilers); i++) {
    const guint64 invalid = (guint64) stat_of (sender.catcher.element, "invalid");
    Forgery forgery;
    forge (&sender, 1000 + i, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
    spoilers[i].spoil (&forgery);
    send_whole (&sender, &forgery);
    check_next (&sender, 2 + i, invalid, spoilers[i].what);
  }
  CHECK (WAIT_UNTIL (fixture_count_fds () <= fds));
  sender_close (&sender);
}

static void
test_stream (void)
{
  send_spoiled (SOCK_STREAM);
}

static void
test_seqpacket (void)
{
  send_spoiled (SOCK_SEQPACKET);
}

static void
test_events (void)
{
  Sender sender;
  Forgery forgery;
  guint8 garbage[300];
  GBytes *payloads[6];

  for (guint i = 0; i < sizeof garbage; i++)
    garbage[i] = (guint8) (i * 37);
  payloads[0] = g_bytes_new (garbage, sizeof garbage);
  payloads[1] = g_bytes_new (garbage, 0);
  payloads[2] = bytes_of_event (gst_event_new_stream_start ("hostile"));
  payloads[3] = bytes_of_event (gst_event_new_custom (GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty ("up")));
  payloads[4] = bytes_of_event (gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_OOB, gst_structure_new_empty ("down")));
  payloads[5] = make_state (SMALL);
  sender_open (&sender, SOCK_STREAM);
  for (guint i = 0; i < G_N_ELEMENTS (payloads); i++) {
    const guint64 invalid = (guint64) stat_of (sender.catcher.element, "invalid");
    forge (&sender, 0, GST_CUFRAMES_MESSAGE_EVENT, payloads[i], &forgery);
    send_whole (&sender, &forgery);
    check_next (&sender, i + 1, invalid, "event");
    g_bytes_unref (payloads[i]);
  }
  sender_close (&sender);
}

/* Metas and states that are nonsense, in the message and in files. */
static void
test_blocks (void)
{
  static const gsize sizes[] = { 1, 40, 1000, 20000 };
  Sender sender;
  Forgery forgery;
  guint64 number = 1;

  sender_open (&sender, SOCK_SEQPACKET);
  for (guint i = 0; i < 2 * G_N_ELEMENTS (sizes); i++) {
    const gsize size = sizes[i / 2];
    guint8 *garbage = g_malloc (size);
    const guint64 invalid = (guint64) stat_of (sender.catcher.element, "invalid");
    GBytes *bytes;
    memset (garbage, 0xa5, size);
    bytes = g_bytes_new_take (garbage, size);
    if (i % 2 == 0)
      forge (&sender, 0, GST_CUFRAMES_MESSAGE_BUFFER, bytes, &forgery);
    else {
      GBytes *state = sender.state;
      sender.state = bytes;
      sender.state_serial++;
      forge (&sender, 0, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
      sender.state = state;
      sender.state_serial++;
    }
    if (forgery.data[AT_FDS] > forgery.fd_count) {
      const int fd = make_file (size, TRUE);
      CHECK_EQUAL (pwrite (fd, garbage, size, 0), size);
      forgery.fds[forgery.fd_count++] = fd;
    }
    send_whole (&sender, &forgery);
    check_next (&sender, number++, invalid, i % 2 == 0 ? "metas" : "state");
    g_bytes_unref (bytes);
  }
  sender_close (&sender);
}

/* Blocks that are said to lie in a file that is none. */
static void
test_block_files (void)
{
  GBytes *large = g_bytes_new_take (g_malloc0 (30000), 30000);
  Sender sender;
  Forgery forgery;

  sender_open (&sender, SOCK_SEQPACKET);
  for (guint i = 0; i < 5; i++) {
    const guint64 invalid = (guint64) stat_of (sender.catcher.element, "invalid");
    forge (&sender, 0, GST_CUFRAMES_MESSAGE_EVENT, large, &forgery);
    CHECK_EQUAL (forgery.data[AT_FDS], 1);
    forgery.fd_count = 1;
    forgery.fds[0] = i == 0 ? make_file (29999, TRUE) : i == 1 ? make_file (30000, FALSE) : i == 2 ? open ("/dev/zero", O_RDONLY | O_CLOEXEC)
        : i == 3 ? open ("/tmp", O_RDONLY | O_CLOEXEC) : socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    send_whole (&sender, &forgery);
    check_next (&sender, i + 1, invalid, "file of a block");
  }
  sender_close (&sender);
  g_bytes_unref (large);
}

/* However many are left out, the bus hears of it once a second at most. */
static void
test_warnings (void)
{
  Sender sender;
  Forgery forgery;
  gchar *text;
  guint count = 0;
  const guint64 start = fixture_now_ns ();

  sender_open (&sender, SOCK_SEQPACKET);
  for (guint i = 0; i < 300; i++) {
    forge (&sender, 0, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
    spoil_unsealed (&forgery);
    send_whole (&sender, &forgery);
    CHECK (WAIT_UNTIL (stat_of (sender.catcher.element, "invalid") > (gint64) i));
  }
  text = take_warning (sender.catcher.pipeline, FIXTURE_BOUND_NS);
  CHECK (text != NULL && strstr (text, "sealed") != NULL);
  for (; text != NULL; count++) {
    g_free (text);
    text = take_warning (sender.catcher.pipeline, 0);
  }
  CHECK (count >= 1 && count <= (fixture_now_ns () - start) / GST_SECOND + 1);
  sender_close (&sender);
}

/* A file with holes of a terabyte costs the receiver no memory. Checkers of memory have no room for it. */
static void
test_holes (void)
{
  Sender sender;
  Forgery forgery;

  sender_open (&sender, SOCK_STREAM);
  forge (&sender, 1, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
  CHECK (ftruncate (forgery.fds[1], fixture_is_slow ()? G_GINT64_CONSTANT (1) << 30 : G_GINT64_CONSTANT (1) << 40) == 0);
  send_whole (&sender, &forgery);
  CHECK_EQUAL (catcher_take_number (&sender.catcher), 1);
  sender_close (&sender);
}

static const FixtureTest tests[] = {
  {"messages that are not sound are left out on a stream socket", test_stream},
  {"messages that are not sound are left out on a sequenced packet socket", test_seqpacket},
  {"events that are none of a stream are left out", test_events},
  {"metas and states that are nonsense are left out", test_blocks},
  {"files of metas and states are not trusted", test_block_files},
  {"the bus is not filled with warnings", test_warnings},
  {"a file with holes costs no memory", test_holes},
};

ELEMENT_MAIN (tests, NULL, 0)
