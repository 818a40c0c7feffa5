/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Target for what a cuframesdepay receives: bytes of a socket in pieces, with descriptors of all sorts.
 *
 * The input is a sequence of pieces: a byte of bits, its length (two bytes, little-endian), which descriptors it brings (three bits each in four
 * bytes), the bytes. Bit 0: the head of a message with the right size is put before them, and as many descriptors come as the message says. Bit 1:
 * it comes in two halves. Bits 4 to 6: without bit 0, how many descriptors come. Files that are sound hold the rest of the input, so that what a
 * message keeps in files is fed too.
 *
 * Whatever the input is: a buffer's bytes and the lines of its picture can be read, caps and events can be used with every warning of GLib and
 * GStreamer fatal, and no descriptor is left.
 *
 * With WRITE_CORPUS in the environment nothing is fuzzed: sound messages are written into that folder as seeds. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "gstcuframescodec.h"
#include "gstcuframesimporter.h"
#include "gstcuframesmessagereader.h"

#define PIECES_MAX 12
#define PIECE_BYTES_MAX 2100u
#define FILE_BYTES 8192u
#define FDS_MAX 24u
#define HEAD_BYTES 12u
#define CUSTOM "fuzz-pay-custom"
#define VIDEO "video/x-raw,format=NV12,width=64,height=48,framerate=30/1"

static const guint8 head[] = { 'c', 'u', 'f', 'r', 'a', 'm', 's', 'g', 1, 0 };

static gsize sum;               /* so that reading is not left out */

static guint
count_fds (void)
{
  DIR *entries = opendir ("/proc/self/fd");
  guint count = 0;

  while (readdir (entries) != NULL)
    count++;
  closedir (entries);
  return count;
}

static int
make_file (const FuzzInput * content, gsize size, gboolean sealed)
{
  const int fd = memfd_create ("fuzz-pay", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  FUZZ_REQUIRE (ftruncate (fd, (off_t) size) == 0);
  if (content->size > 0)
    FUZZ_REQUIRE (pwrite (fd, content->bytes, MIN (content->size, size), 0) >= 0);
  FUZZ_REQUIRE (!sealed || fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  return fd;
}

static int
make_descriptor (guint kind, const FuzzInput * content)
{
  int ends[2];

  switch (kind) {
    case 0:
    case 1:
      return make_file (content, FILE_BYTES, TRUE);
    case 2:
      FUZZ_REQUIRE (pipe2 (ends, O_CLOEXEC) == 0);
      close (ends[0]);
      return ends[1];
    case 3:
      return make_file (content, FILE_BYTES, FALSE);
    case 4:
      return make_file (content, 100, TRUE);
    case 5:
      return open ("/dev/zero", O_RDWR | O_CLOEXEC);
    case 6:
      return open ("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    default:
      return make_file (content, 0, TRUE);
  }
}

static void
use_bytes (GstBuffer * buffer)
{
  GstMapInfo map;

  FUZZ_REQUIRE (gst_buffer_map (buffer, &map, GST_MAP_READ));
  for (gsize i = 0; i < map.size; i++)
    sum += map.data[i];
  gst_buffer_unmap (buffer, &map);
}

/* As an element would read it: every pixel of every plane. */
static void
use_picture (GstBuffer * buffer, GstCaps * caps)
{
  GstVideoFrame frame;
  GstVideoInfo info;

  if (caps == NULL || !gst_structure_has_name (gst_caps_get_structure (caps, 0), "video/x-raw") || !gst_video_info_from_caps (&info, caps)
      || GST_VIDEO_INFO_FORMAT (&info) <= GST_VIDEO_FORMAT_ENCODED || gst_buffer_n_memory (buffer) == 0 || !gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ))
    return;
  for (guint c = 0; c < GST_VIDEO_FRAME_N_COMPONENTS (&frame); c++) {
    const gsize line_bytes = (gsize) GST_VIDEO_FRAME_COMP_WIDTH (&frame, c) * (gsize) MAX (GST_VIDEO_FRAME_COMP_PSTRIDE (&frame, c), 0);
    const guint8 *line = GST_VIDEO_FRAME_PLANE_DATA (&frame, GST_VIDEO_FRAME_COMP_PLANE (&frame, c));
    if (GST_VIDEO_FORMAT_INFO_IS_TILED (info.finfo) || GST_VIDEO_FORMAT_INFO_HAS_PALETTE (info.finfo))
      continue;
    for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&frame, c); y++, line += GST_VIDEO_FRAME_COMP_STRIDE (&frame, c))
      sum += line_bytes > 0 ? line[0] + line[line_bytes - 1] : 0u;
  }
  gst_video_frame_unmap (&frame);
}

static void
use_event (GBytes * bytes)
{
  gsize size;
  gconstpointer data = g_bytes_get_data (bytes, &size);
  GstEvent *event = gst_cuframes_codec_event_from_bytes (data, size, NULL);

  if (event != NULL)
    sum += gst_cuframes_codec_event_sticky_key (event);
  gst_clear_event (&event);
}

static void
take_state (GstCuframesImporter * importer, const GstCuframesMessage * message, const gint * fds, GstCaps ** caps)
{
  GBytes *bytes = gst_cuframes_importer_get_state (message, fds);
  GPtrArray *events = NULL;
  GstCaps *read_caps = NULL;
  gconstpointer data;
  gsize size;

  if (bytes == NULL)
    return;
  data = g_bytes_get_data (bytes, &size);
  FUZZ_REQUIRE (size == message->state.size);
  if (gst_cuframes_message_state_from_bytes (data, size, &read_caps, &events, NULL)) {
    g_ptr_array_foreach (events, (GFunc) (void (*)(void)) use_event, NULL);
    g_ptr_array_unref (events);
    if (read_caps != NULL)
      gst_cuframes_importer_set_caps (importer, read_caps);
    if (read_caps != NULL)
      gst_caps_take (caps, read_caps);
  }
  g_bytes_unref (bytes);
}

static void
take_message (GstCuframesImporter * importer, const GstCuframesMessage * message, gint * fds, GstCaps ** caps)
{
  GBytes *payload;
  GstBuffer *buffer;
  GError *error = NULL;
  guint skipped;

  FUZZ_REQUIRE (gst_cuframes_message_count_fds (message) <= GST_CUFRAMES_MESSAGE_MAX_FDS);
  take_state (importer, message, fds, caps);
  if (message->type == GST_CUFRAMES_MESSAGE_EVENT) {
    payload = gst_cuframes_importer_get_payload (message, fds);
    if (payload != NULL)
      use_event (payload);
    g_clear_pointer (&payload, g_bytes_unref);
    return;
  }
  if (message->type != GST_CUFRAMES_MESSAGE_BUFFER)
    return;
  buffer = gst_cuframes_importer_import (importer, message, fds, &skipped, &error);
  FUZZ_REQUIRE ((buffer == NULL) == (error != NULL));
  g_clear_error (&error);
  if (buffer == NULL)
    return;
  FUZZ_REQUIRE (gst_buffer_get_size (buffer) == message->info.size_bytes);
  /* First: reading all bytes may put the memories together. */
  use_picture (buffer, *caps);
  use_bytes (buffer);
  gst_buffer_unref (buffer);
}

static void
take_all (GstCuframesMessageReader * reader, GstCuframesImporter * importer, GstCaps ** caps)
{
  GstCuframesMessageReaderResult result;
  GstCuframesMessage message;
  GError *error = NULL;
  gint *fds;

  do {
    result = gst_cuframes_message_reader_next (reader, &message, &fds, &error);
    FUZZ_REQUIRE ((result == GST_CUFRAMES_MESSAGE_READER_INVALID) == (error != NULL));
    g_clear_error (&error);
    if (result == GST_CUFRAMES_MESSAGE_READER_MESSAGE)
      take_message (importer, &message, fds, caps);
  } while (result != GST_CUFRAMES_MESSAGE_READER_EMPTY);
}

static void
feed_piece (GstCuframesMessageReader * reader, GstCuframesImporter * importer, GstCaps ** caps, FuzzInput * input)
{
  const guint bits = (guint) fuzz_take (input, 1);
  const gsize size = fuzz_take (input, 2) % PIECE_BYTES_MAX;
  const guint32 kinds = (guint32) fuzz_take (input, 4);
  const FuzzInput piece = fuzz_take_bytes (input, size);
  guint8 bytes[HEAD_BYTES + PIECE_BYTES_MAX];
  const guint16 whole = GUINT16_TO_LE ((guint16) (HEAD_BYTES + piece.size));
  gsize used = 0, first;
  guint fd_count = bits >> 4 & 7;
  int fds[FDS_MAX] = { 0 };

  if (bits & 1) {
    memcpy (bytes, head, sizeof head);
    memcpy (bytes + sizeof head, &whole, sizeof whole);
    used = HEAD_BYTES;
    fd_count = piece.size > 1 ? MIN (piece.bytes[1], FDS_MAX) : 0;
  }
  if (piece.size > 0)
    memcpy (bytes + used, piece.bytes, piece.size);
  used += piece.size;
  for (guint i = 0; i < fd_count; i++)
    fds[i] = make_descriptor (kinds >> 3 * (i % 10) & 7, input);
  first = bits & 2 ? used / 2 : used;
  gst_cuframes_message_reader_push (reader, bytes, first, fds, fd_count);
  take_all (reader, importer, caps);
  if (first < used) {
    gst_cuframes_message_reader_push (reader, bytes + first, used - first, NULL, 0);
    take_all (reader, importer, caps);
  }
}

/* ---- seeds ---- */

static GBytes *
make_state (const char *caps_text, const char *title)
{
  GPtrArray *events = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  GstCaps *caps = gst_caps_from_string (caps_text);
  GstEvent *event[2];
  GstSegment segment;
  GBytes *state;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  event[0] = gst_event_new_segment (&segment);
  event[1] = gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, title, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (event); i++) {
    g_ptr_array_add (events, gst_cuframes_codec_event_to_bytes (event[i], NULL));
    gst_event_unref (event[i]);
  }
  state = gst_cuframes_message_state_to_bytes (caps, events, NULL);
  g_ptr_array_unref (events);
  gst_caps_unref (caps);
  return state;
}

static GBytes *
make_metas (void)
{
  GstBuffer *buffer = gst_buffer_new ();
  guint8 data[1024];
  gsize size;

  gst_buffer_add_video_region_of_interest_meta (buffer, "face", 1, 2, 3, 4);
  gst_structure_set (gst_custom_meta_get_structure (gst_buffer_add_custom_meta (buffer, CUSTOM)), "number", G_TYPE_INT, 5, NULL);
  size = gst_cuframes_codec_metas_to_bytes (buffer, data, sizeof data, NULL);
  gst_buffer_unref (buffer);
  return g_bytes_new (data, size);
}

static void
write_seed (const char *folder, const char *name, GstCuframesMessage * message, GBytes * take_state, GBytes * take_payload, guint32 kinds)
{
  guint8 data[GST_CUFRAMES_MESSAGE_MAX_BYTES];
  GByteArray *seed = g_byte_array_new ();
  gchar *path = g_build_filename (folder, name, NULL);
  guint8 bits = 1;
  guint16 size;

  message->payload = (GstCuframesMessageBlock) { 0 };
  message->state.data = g_bytes_get_data (take_state, &message->state.size);
  if (take_payload != NULL)
    message->payload.data = g_bytes_get_data (take_payload, &message->payload.size);
  gst_cuframes_message_place (message);
  size = (guint16) (gst_cuframes_message_write (message, data) - HEAD_BYTES);
  g_byte_array_append (seed, &bits, 1);
  g_byte_array_append (seed, (guint8 *) &size, sizeof size);
  g_byte_array_append (seed, (guint8 *) &kinds, sizeof kinds);
  g_byte_array_append (seed, data + HEAD_BYTES, size);
  if (message->state.by_fd)
    g_byte_array_append (seed, message->state.data, (guint) message->state.size);
  FUZZ_REQUIRE (g_file_set_contents (path, (gchar *) seed->data, seed->len, NULL));
  g_byte_array_unref (seed);
  g_free (path);
  g_bytes_unref (take_state);
  g_clear_pointer (&take_payload, g_bytes_unref);
}

static void
describe_picture (GstCuframesMessage * message)
{
  message->type = GST_CUFRAMES_MESSAGE_BUFFER;
  message->has_video_meta = TRUE;
  message->info.format = GST_VIDEO_FORMAT_NV12;
  message->info.width = 64;
  message->info.height = 48;
  message->info.plane_count = 2;
  message->info.plane_offset_bytes[1] = 64 * 48;
  message->info.plane_stride_bytes[0] = message->info.plane_stride_bytes[1] = 64;
  message->memory_count = 1;
  message->memories[0].kind = GST_CUFRAMES_MESSAGE_MEMORY_FILE;
  message->memories[0].size_bytes = 64 * 48 * 3 / 2;
}

static void
write_corpus (const char *folder)
{
  GstCuframesMessage message = { 0 };
  GstEvent *gap = gst_event_new_gap (1, 2);
  gchar *title = g_strnfill (2000, 't');

  describe_picture (&message);
  write_seed (folder, "picture", &message, make_state (VIDEO, "t"), NULL, 2);
  write_seed (folder, "picture-with-metas", &message, make_state (VIDEO, "t"), make_metas (), 2);
  write_seed (folder, "state-in-a-file", &message, make_state (VIDEO, title), NULL, 2);
  message.has_video_meta = FALSE;
  message.info.plane_count = 0;
  message.memory_count = 3;
  for (guint i = 0; i < 3; i++)
    message.memories[i] = (GstCuframesMessageMemory) {.kind = GST_CUFRAMES_MESSAGE_MEMORY_FILE,.offset_bytes = i * 100,.size_bytes = 50 };
  write_seed (folder, "three-memories", &message, make_state ("application/x-test", "t"), NULL, 2);
  for (guint i = 0; i < 3; i++)
    message.memories[i].kind = i + 1;
  write_seed (folder, "all-kinds", &message, make_state ("application/x-test", "t"), NULL, 2);
  message = (GstCuframesMessage) {.type = GST_CUFRAMES_MESSAGE_EVENT };
  write_seed (folder, "event", &message, make_state (VIDEO, "t"), gst_cuframes_codec_event_to_bytes (gap, NULL), 0);
  message = (GstCuframesMessage) {.type = GST_CUFRAMES_MESSAGE_NOTHING };
  write_seed (folder, "nothing", &message, make_state (VIDEO, "t"), NULL, 0);
  gst_event_unref (gap);
  g_free (title);
}

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  static const gchar *tags[] = { NULL };
  const gchar *folder = g_getenv ("WRITE_CORPUS");

  gst_registry_fork_set_enabled (FALSE);
  gst_init (NULL, NULL);
  gst_meta_register_custom (CUSTOM, tags, NULL, NULL, NULL);
  g_log_set_always_fatal (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR);
  if (folder != NULL) {
    write_corpus (folder);
    exit (EXIT_SUCCESS);
  }
  return 0;
}

int
LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
  GstCuframesMessageReader *reader = gst_cuframes_message_reader_new ();
  GstCuframesImporter *importer = gst_cuframes_importer_new ();
  const guint fds = count_fds ();
  FuzzInput input = { data, size };
  GstCaps *caps = NULL;

  for (guint i = 0; i < PIECES_MAX && input.size > 0; i++)
    feed_piece (reader, importer, &caps, &input);
  gst_cuframes_message_reader_free (reader);
  gst_cuframes_importer_free (importer);
  gst_clear_caps (&caps);
  FUZZ_REQUIRE (count_fds () == fds);
  return 0;
}
