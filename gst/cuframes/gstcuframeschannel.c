/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names to paths, conditions to sentences that say what to do, counters to GstStructures. Holds no state. */
#include "gstcuframeschannel.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>

/* One of channel and socket_path names the socket; socket_path wins. */
gboolean
gst_cuframes_channel_resolve (const gchar * channel, const gchar * socket_path, gchar ** path, gchar ** text)
{
  gchar found[CUFRAMES_SOCKET_PATH_BYTES];
  gint r;

  if (socket_path != NULL && *socket_path != '\0') {
    if (strlen (socket_path) >= CUFRAMES_SOCKET_PATH_BYTES) {
      *text = g_strdup_printf ("The socket path \"%s\" is longer than %d bytes: choose a shorter one", socket_path, CUFRAMES_SOCKET_PATH_BYTES - 1);
      return FALSE;
    }
    *path = g_strdup (socket_path);
    return TRUE;
  }
  if (channel == NULL || *channel == '\0') {
    *text = g_strdup ("No channel is named: set the property \"channel\", or \"socket-path\"");
    return FALSE;
  }
  r = cuframes_channel_path (channel, found, sizeof found);
  if (r == 0)
    *path = g_strdup (found);
  else if (r == -EINVAL)
    *text = g_strdup_printf ("\"%s\" is no name for a channel: it may not contain a slash or start with a dot or @", channel);
  else
    *text = g_strdup_printf ("The path of channel \"%s\" is longer than a socket's may be: choose a shorter name, or a shorter CUFRAMES_DIR", channel);
  return r == 0;
}

/* A descriptor of its own for a connection that the application made, or -1 with a text that says what is wrong with it. */
gint
gst_cuframes_channel_copy_socket (GSocket * socket, gchar ** text)
{
  gint fd = -1;

  if (g_socket_is_closed (socket))
    *text = g_strdup ("The socket is closed");
  else if (g_socket_get_family (socket) != G_SOCKET_FAMILY_UNIX || g_socket_get_socket_type (socket) != G_SOCKET_TYPE_SEQPACKET)
    *text = g_strdup ("The socket is of another kind: a unix socket of the type SEQPACKET is needed");
  else {
    fd = fcntl (g_socket_get_fd (socket), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
      *text = g_strdup_printf ("The socket cannot be taken: %s", g_strerror (errno));
  }
  return fd;
}

/* path: NULL of a publisher that listens nowhere. Why cuframes_publisher_new() did not open a channel, or cuframes_subscriber_connect() did not join one. */
gchar *
gst_cuframes_channel_explain_open (const gchar * path, gint result)
{
  if (path == NULL)
    return g_strdup_printf ("Cannot serve connections: %s", g_strerror (ABS (result)));
  switch (-result) {
    case EADDRINUSE:
      return g_strdup_printf ("Channel %s has a publisher already: stop that one, or choose another channel", path);
    case EEXIST:
      return g_strdup_printf ("%s is in the way and is no socket: remove it, or choose another channel", path);
    case EPERM:
      return g_strdup_printf ("The socket %s belongs to another user: remove it as that user, or choose another channel", path);
    case EACCES:
      return g_strdup_printf ("No permission for %s: check the owner and mode of the directory, or set CUFRAMES_DIR to one of your own", path);
    case ENOENT:
    case ENOTDIR:
      return g_strdup_printf ("The directory of %s does not exist: create it, or set CUFRAMES_DIR to one that does", path);
    case EROFS:
      return g_strdup_printf ("%s lies on a read-only file system: set CUFRAMES_DIR to a directory that can be written", path);
    case ENOSPC:
      return g_strdup_printf ("No space is left for %s: free some on its file system", path);
    case EMFILE:
    case ENFILE:
      return g_strdup_printf ("No file descriptor is left for %s: raise the limit (ulimit -n)", path);
    case EPROTOTYPE:
      return g_strdup_printf ("%s is a socket of another kind: another program listens there", path);
    default:
      return g_strdup_printf ("Cannot open channel %s: %s", path, g_strerror (ABS (result)));
  }
}

typedef gboolean (*LookUp) (const gchar * name, guint32 * id);

static gboolean
look_up_user (const gchar * name, guint32 * id)
{
  const struct passwd *entry = getpwnam (name);

  if (entry != NULL)
    *id = entry->pw_uid;
  return entry != NULL;
}

static gboolean
look_up_group (const gchar * name, guint32 * id)
{
  const struct group *entry = getgrnam (name);

  if (entry != NULL)
    *id = entry->gr_gid;
  return entry != NULL;
}

static GArray *
parse_ids (const gchar * list, LookUp look_up, const gchar * what, gchar ** text)
{
  /* An empty list lets nobody in, so it may not look like none. */
  GArray *ids = g_array_sized_new (FALSE, FALSE, sizeof (guint32), 1);
  gchar **names = g_strsplit (list, ",", -1);

  for (guint i = 0; names[i] != NULL; i++) {
    const gchar *name = g_strstrip (names[i]);
    guint64 number;
    guint32 id;

    if (g_ascii_string_to_unsigned (name, 10, 0, G_MAXUINT32 - 1, &number, NULL))
      id = number;
    else if (!look_up (name, &id)) {
      *text = g_strdup_printf ("There is no %s \"%s\"", what, name);
      g_clear_pointer (&ids, g_array_unref);
      break;
    }
    g_array_append_val (ids, id);
  }
  g_strfreev (names);
  return ids;
}

/* (nullable) (transfer full) (element-type guint32): users by name or number, separated by commas. */
GArray *
gst_cuframes_channel_parse_users (const gchar * list, gchar ** text)
{
  return parse_ids (list, look_up_user, "user", text);
}

/* (nullable) (transfer full) (element-type guint32): groups, likewise. */
GArray *
gst_cuframes_channel_parse_groups (const gchar * list, gchar ** text)
{
  return parse_ids (list, look_up_group, "group", text);
}

GstStructure *
gst_cuframes_channel_describe_subscriber (const CuframesSubscriberStats * stats)
{
  return gst_structure_new ("subscriber",
      "id", G_TYPE_UINT, stats->id, "pid", G_TYPE_UINT, stats->pid, "uid", G_TYPE_UINT, stats->uid, "name", G_TYPE_STRING, stats->name,
      "observer", G_TYPE_BOOLEAN, stats->observer != 0, "lingering", G_TYPE_BOOLEAN, stats->lingering != 0,
      "delivered", G_TYPE_UINT64, stats->delivered, "missed", G_TYPE_UINT64, stats->missed, "copied", G_TYPE_UINT64, stats->copied,
      "leases-held", G_TYPE_UINT, stats->leases_held, "lag", G_TYPE_UINT64, stats->lag_frames, "wakeups", G_TYPE_UINT64, stats->wakeups, NULL);
}

static void
append_subscribers (CuframesPublisher * publisher, GValue * list)
{
  CuframesSubscriberStats *subscribers = g_new (CuframesSubscriberStats, CUFRAMES_SUBSCRIBERS_MAX);
  const guint count = cuframes_publisher_get_subscribers (publisher, subscribers, CUFRAMES_SUBSCRIBERS_MAX);

  for (guint i = 0; i < count; i++) {
    GValue value = G_VALUE_INIT;
    g_value_init (&value, GST_TYPE_STRUCTURE);
    g_value_take_boxed (&value, gst_cuframes_channel_describe_subscriber (&subscribers[i]));
    gst_value_array_append_and_take_value (list, &value);
  }
  g_free (subscribers);
}

/* publisher: NULL before the channel is open. */
GstStructure *
gst_cuframes_channel_get_stats (CuframesPublisher * publisher)
{
  CuframesPublisherStats stats = { 0 };
  GValue list = G_VALUE_INIT;
  GstStructure *structure;

  g_value_init (&list, GST_TYPE_ARRAY);
  if (publisher != NULL) {
    cuframes_publisher_get_stats (publisher, &stats);
    append_subscribers (publisher, &list);
  }
  structure = gst_structure_new ("application/x-cuframes-stats",
      "frames", G_TYPE_UINT64, stats.frames, "drops", G_TYPE_UINT64, stats.dropped, "copies", G_TYPE_UINT64, stats.copies,
      "bytes", G_TYPE_UINT64, stats.bytes, "wakeups", G_TYPE_UINT64, stats.wakeups, "evicted", G_TYPE_UINT64, stats.evicted,
      "refused", G_TYPE_UINT64, stats.refused, "memory-bytes", G_TYPE_UINT64, stats.memory_bytes, "generation", G_TYPE_UINT, stats.generation,
      "slots", G_TYPE_UINT, stats.slots, "slots-leased", G_TYPE_UINT, stats.slots_leased, "slots-held", G_TYPE_UINT, stats.slots_held,
      "num-subscribers", G_TYPE_UINT, stats.subscribers, NULL);
  gst_structure_take_value (structure, "subscribers", &list);
  return structure;
}
