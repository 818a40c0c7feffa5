/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which channels of the directory live. The kernel says when something is made or removed there; whether a publisher lives behind a socket,
 * one that was killed too, the observer connection to it says. Nothing is looked at by time. Knows nothing of GstDevices. */
#include "gstcuframeswatcher.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "gstcuframescodec.h"

GST_DEBUG_CATEGORY_EXTERN (gst_cuframes_device_debug);
#define GST_CAT_DEFAULT gst_cuframes_device_debug

#define SUFFIX ".sock"
#define EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
/* A channel is told of once its format is known, but no later than this. */
#define FORMAT_MS 500
/* When too many knock at a publisher at once. */
#define BUSY_MS 100
/* Who says more than so much within that time is not read for as long. One that talks without end keeps neither the others nor the end from their
 * turn, and does not fill the memory of an application with messages. */
#define MESSAGES_AT_ONCE 16
#define REST_MS 100

struct _GstCuframesWatcher
{
  GstCuframesWatcherFunction function;
  gpointer user_data;
  gchar *directory;
  GMainContext *context;
  GHashTable *channels;         /* name to Channel */
  gint inotify_fd;
  gint watch;                   /* of the directory, or of what is there of its path */
  GSource *inotify_source;
  GSource *again;               /* one more scan is due */
  gint quit;                    /* atomic */
};

typedef struct
{
  GstCuframesChannelInfo info;
  GstCuframesWatcher *watcher;
  CuframesObserver *observer;
  GSource *readable;
  GSource *patience;            /* until the format is waited for no more */
  GBytes *format;
  guint heard_count;            /* messages, since then */
  gint64 heard_since_us;
  gboolean answered;
  gboolean announced;
  gboolean seen;                /* by the scan under way */
} Channel;

static void scan (GstCuframesWatcher * self);

static void
clear_source (GSource ** source)
{
  if (*source == NULL)
    return;
  g_source_destroy (*source);
  g_clear_pointer (source, g_source_unref);
}

static GSource *
attach (GstCuframesWatcher * self, GSource * source, GSourceFunc function, gpointer user_data)
{
  g_source_set_callback (source, function, user_data, NULL);
  g_source_attach (source, self->context);
  return source;
}

static void
tell (Channel * channel, GstCuframesWatcherEvent event)
{
  channel->watcher->function (event, &channel->info, channel->watcher->user_data);
}

static void
channel_free (gpointer data)
{
  Channel *channel = data;

  clear_source (&channel->readable);
  clear_source (&channel->patience);
  cuframes_observer_free (channel->observer);
  g_clear_pointer (&channel->format, g_bytes_unref);
  gst_clear_caps (&channel->info.caps);
  g_free (channel->info.channel);
  g_free (channel->info.path);
  g_free (channel);
}

static void
announce (Channel * channel)
{
  clear_source (&channel->patience);
  if (channel->announced)
    return;
  channel->announced = TRUE;
  tell (channel, GST_CUFRAMES_WATCHER_APPEARED);
}

static gboolean
on_patience_over (gpointer data)
{
  announce (data);
  return G_SOURCE_REMOVE;
}

static void
take_stats (Channel * channel, const CuframesPublisherStats * stats)
{
  guint32 size;
  const void *bytes = cuframes_observer_peek_format (channel->observer, &size);
  GError *error = NULL;

  channel->answered = TRUE;
  channel->info.memory_kind = stats->memory_kind;
  if (bytes == NULL || (channel->format != NULL && g_bytes_get_size (channel->format) == size
          && memcmp (g_bytes_get_data (channel->format, NULL), bytes, size) == 0))
    return;
  g_clear_pointer (&channel->format, g_bytes_unref);
  channel->format = g_bytes_new (bytes, size);
  gst_clear_caps (&channel->info.caps);
  channel->info.caps = gst_cuframes_codec_caps_from_bytes (bytes, size, &error);
  if (channel->info.caps == NULL) {
    GST_WARNING ("the format of channel %s cannot be read: %s", channel->info.channel, error->message);
    g_clear_error (&error);
  }
  if (channel->announced)
    tell (channel, GST_CUFRAMES_WATCHER_CHANGED);
  else
    announce (channel);
}

/* One that never answered is no publisher, or one that does not want us: it gets its next chance when something happens in the directory. */
static void
forget (Channel * channel, gint r)
{
  GstCuframesWatcher *self = channel->watcher;
  const gboolean may_be_back = channel->answered;

  GST_DEBUG ("channel %s is gone (%d) %s", channel->info.channel, r, r == CUFRAMES_E_REFUSED ? cuframes_observer_get_refusal (channel->observer) : "");
  if (channel->announced)
    tell (channel, GST_CUFRAMES_WATCHER_VANISHED);
  g_hash_table_remove (self->channels, channel->info.channel);
  if (may_be_back)
    scan (self);
}

static void listen_to (Channel * channel);

static gboolean
on_rest_over (gpointer data)
{
  listen_to (data);
  return G_SOURCE_REMOVE;
}

static gboolean
on_channel_readable (gint fd, GIOCondition condition, gpointer data)
{
  Channel *channel = data;
  CuframesPublisherStats stats;
  guint32 count;
  const gint64 now_us = g_get_monotonic_time ();
  gint r = 0;

  if (now_us - channel->heard_since_us >= REST_MS * G_TIME_SPAN_MILLISECOND) {
    channel->heard_since_us = now_us;
    channel->heard_count = 0;
  }
  while (r == 0 && channel->heard_count < MESSAGES_AT_ONCE) {
    r = cuframes_observer_receive (channel->observer, &stats, NULL, 0, &count);
    if (r == 0) {
      channel->heard_count++;
      take_stats (channel, &stats);
    }
  }
  if (r == CUFRAMES_E_EMPTY)
    return G_SOURCE_CONTINUE;
  if (r == 0) {
    clear_source (&channel->readable);
    channel->readable = attach (channel->watcher, g_timeout_source_new (REST_MS), on_rest_over, channel);
  } else
    forget (channel, r);
  return G_SOURCE_REMOVE;
}

static void
listen_to (Channel * channel)
{
  GSource *source = g_unix_fd_source_new (cuframes_observer_peek_fd (channel->observer), G_IO_IN);

  clear_source (&channel->readable);
  channel->readable = attach (channel->watcher, source, G_SOURCE_FUNC (on_channel_readable), channel);
}

static gboolean
on_again (gpointer data)
{
  GstCuframesWatcher *self = data;

  clear_source (&self->again);
  scan (self);
  return G_SOURCE_REMOVE;
}

static void
join (GstCuframesWatcher * self, const gchar * name, const gchar * path)
{
  CuframesObserver *observer = NULL;
  const gint r = cuframes_observer_new (path, &observer);
  Channel *channel;

  if (r == CUFRAMES_E_FULL && self->again == NULL)
    self->again = attach (self, g_timeout_source_new (BUSY_MS), on_again, self);
  if (r != 0) {
    GST_DEBUG ("nobody to be heard at %s (%d)", path, r);
    return;
  }
  channel = g_new0 (Channel, 1);
  channel->watcher = self;
  channel->observer = observer;
  channel->seen = TRUE;
  channel->info.channel = g_strdup (name);
  channel->info.path = g_strdup (path);
  channel->info.pid = cuframes_observer_get_pid (observer);
  listen_to (channel);
  channel->patience = attach (self, g_timeout_source_new (FORMAT_MS), on_patience_over, channel);
  g_hash_table_insert (self->channels, channel->info.channel, channel);
}

static void
look_at (GstCuframesWatcher * self, const gchar * file)
{
  gchar path[CUFRAMES_SOCKET_PATH_BYTES];
  Channel *channel;
  gchar *name;

  if (!g_str_has_suffix (file, SUFFIX))
    return;
  name = g_strndup (file, strlen (file) - strlen (SUFFIX));
  channel = g_hash_table_lookup (self->channels, name);
  if (channel != NULL)
    channel->seen = TRUE;
  else if (cuframes_channel_path (name, path, sizeof path) == 0)
    join (self, name, path);
  g_free (name);
}

static gboolean
is_out_of_sight (gpointer name, gpointer value, gpointer user_data)
{
  Channel *channel = value;

  if (!channel->seen && channel->announced)
    tell (channel, GST_CUFRAMES_WATCHER_VANISHED);
  return !channel->seen;
}

/* A channel whose socket was removed cannot be joined any more, whether its publisher lives or not. */
static void
scan (GstCuframesWatcher * self)
{
  GDir *directory = g_dir_open (self->directory, 0, NULL);
  GHashTableIter iterator;
  const gchar *file;
  gpointer channel;

  g_hash_table_iter_init (&iterator, self->channels);
  while (g_hash_table_iter_next (&iterator, NULL, &channel))
    ((Channel *) channel)->seen = FALSE;
  while (directory != NULL && (file = g_dir_read_name (directory)) != NULL)
    look_at (self, file);
  g_clear_pointer (&directory, g_dir_close);
  g_hash_table_foreach_remove (self->channels, is_out_of_sight, NULL);
}

/* Watches the deepest directory of the path that is there. Whether nothing deeper has come meanwhile. */
static gboolean
watch_deepest (GstCuframesWatcher * self)
{
  gchar *path = g_strdup (self->directory), *missing = NULL;
  gint watch;
  gboolean done;

  while ((watch = inotify_add_watch (self->inotify_fd, path, EVENTS)) < 0 && !g_str_equal (path, "/") && !g_str_equal (path, ".")) {
    g_free (missing);
    missing = path;
    path = g_path_get_dirname (missing);
  }
  if (watch < 0)
    GST_WARNING ("cannot watch %s: %s", path, g_strerror (errno));
  if (watch != self->watch && self->watch >= 0)
    inotify_rm_watch (self->inotify_fd, self->watch);
  self->watch = watch;
  done = watch < 0 || missing == NULL || inotify_add_watch (self->inotify_fd, missing, EVENTS) < 0;
  g_free (missing);
  g_free (path);
  return done;
}

static void
watch_and_scan (GstCuframesWatcher * self)
{
  while (self->inotify_fd >= 0 && !watch_deepest (self))
    continue;
  scan (self);
}

static gboolean
on_directory_event (gint fd, GIOCondition condition, gpointer data)
{
  gchar events[4096];

  while (read (fd, events, sizeof events) > 0)
    continue;
  watch_and_scan (data);
  return G_SOURCE_CONTINUE;
}

/* Starts to look; what is there is told of by gst_cuframes_watcher_settle() and gst_cuframes_watcher_run(). */
GstCuframesWatcher *
gst_cuframes_watcher_new (GstCuframesWatcherFunction function, gpointer user_data)
{
  GstCuframesWatcher *self = g_new0 (GstCuframesWatcher, 1);
  gchar directory[CUFRAMES_SOCKET_PATH_BYTES];

  self->function = function;
  self->user_data = user_data;
  self->context = g_main_context_new ();
  self->channels = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, channel_free);
  self->watch = -1;
  self->inotify_fd = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);
  if (self->inotify_fd < 0)
    GST_WARNING ("cannot watch for channels that come: %s", g_strerror (errno));
  else
    self->inotify_source = attach (self, g_unix_fd_source_new (self->inotify_fd, G_IO_IN), G_SOURCE_FUNC (on_directory_event), self);
  if (cuframes_channel_directory (directory, sizeof directory) < 0)
    GST_WARNING ("the path of the channels' directory is too long");
  else
    self->directory = g_strdup (directory);
  if (self->directory != NULL)
    watch_and_scan (self);
  return self;
}

/* Nobody may run it any more. Nothing is told. */
void
gst_cuframes_watcher_free (GstCuframesWatcher * self)
{
  g_hash_table_unref (self->channels);
  clear_source (&self->again);
  clear_source (&self->inotify_source);
  if (self->inotify_fd >= 0)
    close (self->inotify_fd);
  g_main_context_unref (self->context);
  g_free (self->directory);
  g_free (self);
}

static gboolean
has_everybody_answered (GstCuframesWatcher * self)
{
  GHashTableIter iterator;
  gpointer channel;

  g_hash_table_iter_init (&iterator, self->channels);
  while (g_hash_table_iter_next (&iterator, NULL, &channel))
    if (!((Channel *) channel)->answered)
      return FALSE;
  return TRUE;
}

static gboolean
on_timeout (gpointer over)
{
  *(gboolean *) over = TRUE;
  return G_SOURCE_REMOVE;
}

/* Runs until every channel that is there has answered or the time is over, and tells of all of them. */
void
gst_cuframes_watcher_settle (GstCuframesWatcher * self, guint timeout_ms)
{
  gboolean over = FALSE;
  GSource *timeout = attach (self, g_timeout_source_new (timeout_ms), on_timeout, &over);
  GHashTableIter iterator;
  gpointer channel;

  while (!over && !has_everybody_answered (self))
    g_main_context_iteration (self->context, TRUE);
  clear_source (&timeout);
  g_hash_table_iter_init (&iterator, self->channels);
  while (g_hash_table_iter_next (&iterator, NULL, &channel))
    announce (channel);
}

/* Until gst_cuframes_watcher_quit(). */
void
gst_cuframes_watcher_run (GstCuframesWatcher * self)
{
  while (!g_atomic_int_get (&self->quit))
    g_main_context_iteration (self->context, TRUE);
}

/* Any thread. */
void
gst_cuframes_watcher_quit (GstCuframesWatcher * self)
{
  g_atomic_int_set (&self->quit, TRUE);
  g_main_context_wakeup (self->context);
}
