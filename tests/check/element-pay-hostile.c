/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a sender that is broken or hostile can send to a cuframesdepay: each message is left out, nothing of it stays behind, and the next
 * sound one arrives. */
#include "pay-fixture.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "gstcuframescodec.h"
#include "gstcuframesmessage.h"

#define FILE_BYTES (64 * 1024)
#define OFFSET 4096

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

/* A message that can be spoiled before it is sent. The lease is the first descriptor, the memory's the second. */
typedef struct
{
  guint8 data[8192];
  gsize size;
  int fds[64];
  guint fd_count;
} Forgery;

typedef struct
{
  GstVideoInfo info;
  GBytes *state;
  guint64 sequence;
  guint64 state_serial;
  int connection;
  Catcher catcher;
} Sender;

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

static GBytes *
make_state (const char *description)
{
  GPtrArray *events = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  GstCaps *caps = gst_caps_from_string (description);
  GstSegment segment;
  GstEvent *event;
  GBytes *state;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  event = gst_event_new_segment (&segment);
  g_ptr_array_add (events, gst_cuframes_codec_event_to_bytes (event, NULL));
  state = gst_cuframes_message_state_to_bytes (caps, events, NULL);
  gst_event_unref (event);
  gst_caps_unref (caps);
  g_ptr_array_unref (events);
  return state;
}

static int
make_file (gsize size, gboolean sealed)
{
  const int fd = memfd_create ("element-pay-hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  CHECK (ftruncate (fd, (off_t) size) == 0 && (!sealed || fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0));
  return fd;
}

static int
make_frame_file (Sender * sender, guint64 number)
{
  const int fd = make_file (FILE_BYTES, TRUE);
  guint8 *data = mmap (NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  GstBuffer *buffer = gst_buffer_new_wrapped_full (0, data, FILE_BYTES, OFFSET, GST_VIDEO_INFO_SIZE (&sender->info), NULL, NULL);

  CHECK (stamp_buffer (buffer, &sender->info, number, 1));
  gst_buffer_unref (buffer);
  munmap (data, FILE_BYTES);
  return fd;
}

static void
forge (Sender * sender, guint64 number, GstCuframesMessageType type, GBytes * payload, Forgery * forgery)
{
  GstCuframesMessage message = {.type = type,.session = 77,.sequence = sender->sequence++,.state_serial = sender->state_serial,.memory_count = 1 };
  int ends[2];

  memset (forgery, 0, sizeof *forgery);
  message.info.plane_count = 2;
  message.info.format = GST_VIDEO_FORMAT_NV12;
  message.info.width = GST_VIDEO_INFO_WIDTH (&sender->info);
  message.info.height = GST_VIDEO_INFO_HEIGHT (&sender->info);
  for (guint i = 0; i < 2; i++) {
    message.info.plane_offset_bytes[i] = GST_VIDEO_INFO_PLANE_OFFSET (&sender->info, i);
    message.info.plane_stride_bytes[i] = GST_VIDEO_INFO_PLANE_STRIDE (&sender->info, i);
  }
  message.memories[0].kind = GST_CUFRAMES_MESSAGE_MEMORY_FILE;
  message.memories[0].offset_bytes = OFFSET;
  message.memories[0].size_bytes = GST_VIDEO_INFO_SIZE (&sender->info);
  message.state.data = g_bytes_get_data (sender->state, &message.state.size);
  if (payload != NULL)
    message.payload.data = g_bytes_get_data (payload, &message.payload.size);
  gst_cuframes_message_place (&message);
  forgery->size = gst_cuframes_message_write (&message, forgery->data);
  if (type == GST_CUFRAMES_MESSAGE_BUFFER) {
    CHECK (pipe2 (ends, O_CLOEXEC) == 0);
    close (ends[0]);
    forgery->fds[forgery->fd_count++] = ends[1];
    forgery->fds[forgery->fd_count++] = make_frame_file (sender, number);
  }
}

/* Sends a part of it, with all descriptors, which are closed. */
static void
send_part (Sender * sender, Forgery * forgery, gsize start, gsize size)
{
  guint8 control[CMSG_SPACE (sizeof forgery->fds)] = { 0 };
  struct iovec piece = {.iov_base = forgery->data + start,.iov_len = size };
  struct msghdr header = {.msg_iov = &piece,.msg_iovlen = 1 };

  if (forgery->fd_count > 0) {
    struct cmsghdr *rights;
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE (forgery->fd_count * sizeof (int));
    rights = CMSG_FIRSTHDR (&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN (forgery->fd_count * sizeof (int));
    memcpy (CMSG_DATA (rights), forgery->fds, forgery->fd_count * sizeof (int));
  }
  CHECK_EQUAL (sendmsg (sender->connection, &header, MSG_NOSIGNAL), size);
  while (forgery->fd_count > 0)
    close (forgery->fds[--forgery->fd_count]);
}

static void
send_whole (Sender * sender, Forgery * forgery)
{
  send_part (sender, forgery, 0, forgery->size);
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

static void
sender_open (Sender * sender, int type)
{
  GstCaps *caps = gst_caps_from_string (SMALL);
  int ends[2];

  memset (sender, 0, sizeof *sender);
  gst_video_info_from_caps (&sender->info, caps);
  gst_caps_unref (caps);
  sender->state = make_state (SMALL);
  sender->state_serial = 1;
  make_pair (type, ends);
  sender->connection = ends[0];
  CHECK (depayer_open (&sender->catcher, "", ends[1]));
}

static void
sender_close (Sender * sender)
{
  close (sender->connection);
  CHECK (WAIT_UNTIL (sender->catcher.ended));
  CHECK (pipeline_is_well (sender->catcher.pipeline));
  catcher_close (&sender->catcher);
  g_bytes_unref (sender->state);
}

static void
send_good (Sender * sender, guint64 number)
{
  Forgery forgery;

  forge (sender, number, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
  send_whole (sender, &forgery);
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

static GBytes *
bytes_of_event (GstEvent * take_event)
{
  GBytes *bytes = gst_cuframes_codec_event_to_bytes (take_event, NULL);

  gst_event_unref (take_event);
  return bytes;
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
  {"a message may come in parts", test_parts},
  {"messages may come together", test_together},
  {"descriptors beyond those of a message do no harm", test_more_descriptors},
  {"events that are none of a stream are left out", test_events},
  {"metas and states that are nonsense are left out", test_blocks},
  {"files of metas and states are not trusted", test_block_files},
  {"an end that is sent ends the stream once", test_end},
  {"a message that the end cuts off is told", test_cut_off},
  {"the bus is not filled with warnings", test_warnings},
  {"a file with holes costs no memory", test_holes},
};

ELEMENT_MAIN (tests, NULL, 0)
