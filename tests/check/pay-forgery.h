/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A sender to a cuframesdepay that writes its messages by itself, so that it can spoil them, cut them and put them together; sound ones too. */
#ifndef PAY_FORGERY_H
#define PAY_FORGERY_H

#include <sys/mman.h>

#include "gstcuframescodec.h"
#include "gstcuframesmessage.h"
#include "pay-fixture.h"

#define FILE_BYTES (64 * 1024)
#define OFFSET 4096

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

static inline GBytes *
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

static inline int
make_file (gsize size, gboolean sealed)
{
  const int fd = memfd_create ("pay-forgery", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  CHECK (ftruncate (fd, (off_t) size) == 0 && (!sealed || fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0));
  return fd;
}

static inline int
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

static inline void
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
static inline void
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

static inline void
send_whole (Sender * sender, Forgery * forgery)
{
  send_part (sender, forgery, 0, forgery->size);
}

static inline void
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

static inline void
sender_close (Sender * sender)
{
  close (sender->connection);
  CHECK (WAIT_UNTIL (sender->catcher.ended));
  CHECK (pipeline_is_well (sender->catcher.pipeline));
  catcher_close (&sender->catcher);
  g_bytes_unref (sender->state);
}

static inline void
send_good (Sender * sender, guint64 number)
{
  Forgery forgery;

  forge (sender, number, GST_CUFRAMES_MESSAGE_BUFFER, NULL, &forgery);
  send_whole (sender, &forgery);
}

static inline GBytes *
bytes_of_event (GstEvent * take_event)
{
  GBytes *bytes = gst_cuframes_codec_event_to_bytes (take_event, NULL);

  gst_event_unref (take_event);
  return bytes;
}

#endif
